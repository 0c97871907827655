"""Draw the pictures that a person looks at."""

import numpy as np

from transfer import figures
from transfer.augmentation import Augmentation, augmentation_of, augmented_pixels
from transfer.dataset import Split, StoredArray, load_split
from transfer.files import (
    HISTORY,
    HISTORY_HEAD,
    PLOTS,
    PROBABILITIES,
    SPLIT,
    read_csv,
    replacing,
)
from transfer.params import load_params
from transfer.stage import run

SHOWN = 9


def main() -> None:
    params = load_params()
    train, test = load_split(SPLIT, "train"), load_split(SPLIT, "test")
    head, model = StoredArray(PROBABILITIES)[np.arange(2)]
    history, head_epochs = read_csv(HISTORY), len(read_csv(HISTORY_HEAD))
    both = {"head": head, "fine-tuned": model}
    drawn = {
        "learning_curves": figures.learning_curves(
            columns(history[:head_epochs]), columns(history[head_epochs:])
        ),
        "confusion_matrix": figures.confusion_matrix(
            test.labels, model.argmax(axis=1), test.class_names
        ),
        "roc_and_precision_recall": figures.roc_and_precision_recall(test.labels, both),
        "reliability": figures.reliability(test.labels, both),
        "samples": sample_grid(train),
        "augmentation": augmentation_grid(train, augmentation_of(params)),
        "predictions": prediction_grid(test, model, spread(len(test.rows)), "Predictions"),
        "mistakes": prediction_grid(test, model, worst_mistakes(test, model), "Worst mistakes"),
    }
    with replacing(PLOTS) as folder:
        folder.mkdir()
        for name, figure in drawn.items():
            figures.save(figure, folder / f"{name}.png")
    mistakes = np.count_nonzero(model.argmax(axis=1) != test.labels)
    print(f"plot: {len(drawn)} pictures in {PLOTS}/, {mistakes} mistakes on {len(test.rows)}")


def columns(rows: list[dict[str, str]]) -> dict[str, list[float]]:
    """Turn the rows of a history into its columns."""
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def spread(pictures: int) -> np.ndarray:
    """Choose up to SHOWN indices, the same every time and from all over the split."""
    return np.random.default_rng(0).permutation(pictures)[:SHOWN]


def worst_mistakes(split: Split, probabilities: np.ndarray) -> np.ndarray:
    """Return the indices of up to SHOWN wrong predictions, the surest first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != split.labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:SHOWN]


def sample_grid(split: Split):
    """Draw pictures as the training sees them, with their labels."""
    chosen = spread(len(split.rows))
    names = [split.class_names[label] for label in split.labels[chosen]]
    return figures.picture_grid(split.images[split.rows[chosen]], names, title="Training pictures")


def augmentation_grid(split: Split, augmentation: Augmentation):
    """Draw one picture as the first epochs of the training see it."""
    place = spread(len(split.rows))[:1]
    read = augmented_pixels(split, augmentation)
    pixels = np.concatenate([read(place, epoch)[0] for epoch in range(1, SHOWN + 1)])
    return figures.picture_grid(pixels, [""] * SHOWN, title="One picture, augmented")


def prediction_grid(split: Split, probabilities: np.ndarray, chosen: np.ndarray, title: str):
    """Draw pictures with prediction, probability and, where it differs, the label."""
    predictions = probabilities[chosen].argmax(axis=1)
    titles, colors = [], []
    for row, predicted, label in zip(chosen, predictions, split.labels[chosen], strict=True):
        name, true_name = split.class_names[predicted], split.class_names[label]
        right = predicted == label
        labelled = "" if right else f"\nlabelled {true_name}"
        titles.append(f"{name} {probabilities[row, predicted]:.2f}{labelled}")
        colors.append(figures.COLORS["right" if right else "wrong"])
    return figures.picture_grid(split.images[split.rows[chosen]], titles, colors, title=title)


if __name__ == "__main__":
    run(main)
