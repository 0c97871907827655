"""Grids of a split's pictures, and which of them are worth a look."""

import numpy as np
from matplotlib.figure import Figure

from transfer.data.dataset import Split
from transfer.reporting import figures
from transfer.training.augmentation import Augmentation, augmented_pixels

SHOWN = 9


def spread(pictures: int) -> np.ndarray:
    """Choose up to SHOWN indices, the same every time and from all over the split."""
    return np.random.default_rng(0).permutation(pictures)[:SHOWN]


def worst_mistakes(split: Split, probabilities: np.ndarray) -> np.ndarray:
    """Return the indices of up to SHOWN wrong predictions, the surest first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != split.labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:SHOWN]


def least_sure(probabilities: np.ndarray) -> np.ndarray:
    """Return the indices of up to SHOWN predictions, the least sure first."""
    return np.argsort(probabilities.max(axis=1), kind="stable")[:SHOWN]


def sample_grid(split: Split) -> Figure:
    """Draw pictures as the training sees them, with their labels."""
    chosen = spread(len(split.rows))
    names = [split.class_names[label] for label in split.labels[chosen]]
    return figures.image_grid(split.images[split.rows[chosen]], names, title="Training pictures")


def augmentation_grid(split: Split, augmentation: Augmentation) -> Figure:
    """Draw one picture as the first epochs of the training see it."""
    place = spread(len(split.rows))[:1]
    read = augmented_pixels(split, augmentation)
    pixels = np.concatenate([read(place, epoch)[0] for epoch in range(1, SHOWN + 1)])
    return figures.image_grid(pixels, [""] * SHOWN, title="One picture, augmented")


def prediction_grid(
    split: Split, probabilities: np.ndarray, chosen: np.ndarray, title: str
) -> Figure:
    """Draw pictures with prediction, probability and, where it differs, the label."""
    predictions = probabilities[chosen].argmax(axis=1)
    titles, colors = [], []
    for row, predicted, label in zip(chosen, predictions, split.labels[chosen], strict=True):
        name, true_name = split.class_names[predicted], split.class_names[label]
        right = predicted == label
        labelled = "" if right else f"\nlabelled {true_name}"
        titles.append(f"{name} {probabilities[row, predicted]:.2f}{labelled}")
        colors.append(figures.COLORS["right" if right else "wrong"])
    return figures.image_grid(split.images[split.rows[chosen]], titles, colors, title=title)
