"""Draw grids of a split's images, and choose which images are worth a look."""

import textwrap

import numpy as np
from matplotlib.figure import Figure

from transfer.data.dataset import Split
from transfer.data.shards import StoredImages
from transfer.reporting.style import COLORS, GLYPH_WIDTH, REFERENCE, STYLE, count_columns, styled
from transfer.training.augmentation import Augmentation, augmented_pixels

GRID_IMAGES = 9
SUSPECTS_SHOWN, SUSPECTS_IN_A_ROW = 24, 6
FEWEST_IN_A_ROW = 4  # for which the title has room
# A pixel of 256 colours takes half a byte in a PNG of photos, one byte in noise: at most 292 kB.
GRID_PIXELS = GRID_IMAGES * 180**2


def random_indices(image_count: int) -> np.ndarray:
    """Choose up to GRID_IMAGES indices at random, the same every time."""
    return np.random.default_rng(0).permutation(image_count)[:GRID_IMAGES]


def worst_mistakes(split: Split, probabilities: np.ndarray) -> np.ndarray:
    """Return the indices of up to GRID_IMAGES wrong predictions, the most confident first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != split.labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:GRID_IMAGES]


def least_confident(probabilities: np.ndarray) -> np.ndarray:
    """Return the indices of up to GRID_IMAGES predictions, the least confident first."""
    return np.argsort(probabilities.max(axis=1), kind="stable")[:GRID_IMAGES]


def sample_grid(split: Split) -> Figure:
    """Draw training images as they are stored, with their labels."""
    indices = random_indices(len(split.rows))
    names = [split.class_names[label] for label in split.labels[indices]]
    return image_grid(split.images[split.rows[indices]], names, title="Training images")


def augmentation_grid(split: Split, augmentation: Augmentation) -> Figure:
    """Draw one image as the augmentation of the first epochs shows it."""
    index = random_indices(len(split.rows))[:1]
    read = augmented_pixels(split, augmentation)
    pixels = np.concatenate([read(index, epoch)[0] for epoch in range(1, GRID_IMAGES + 1)])
    return image_grid(pixels, [""] * GRID_IMAGES, title="One image, augmented")


def prediction_grid(
    split: Split, probabilities: np.ndarray, indices: np.ndarray, title: str
) -> Figure:
    """Draw images with prediction and probability, and with the label if it differs.

    Args:
        split: Holds the images.
        probabilities: float [N, C], of all images of the split.
        indices: int [M], the images to draw.
        title: Of the figure.
    """
    predictions = probabilities[indices].argmax(axis=1)
    titles, colors = [], []
    for index, prediction, label in zip(indices, predictions, split.labels[indices], strict=True):
        is_right = prediction == label
        labelled = "" if is_right else f"\nlabelled {split.class_names[label]}"
        probability = probabilities[index, prediction]
        titles.append(f"{split.class_names[prediction]} {probability:.2f}{labelled}")
        colors.append(COLORS["right" if is_right else "wrong"])
    return image_grid(split.images[split.rows[indices]], titles, colors, title=title)


def suspect_grid(images: StoredImages, suspects: list[dict]) -> Figure:
    """Draw images that are worth a second look: label, suggestion, probability or kind, and split.

    Args:
        images: uint8 [N, H, W, 3], of all splits.
        suspects: Rows of data/suspects.csv, each with its `row` in `images`.
    """
    titles = []
    for suspect in suspects:
        arrow = f" → {suspect['suggested']}" if suspect["suggested"] else ""
        is_label = suspect["kind"] == "label"
        why = f"{float(suspect['probability']):.2f}" if is_label else suspect["kind"]
        titles.append(f"{suspect['label']}{arrow}\n{why}, {suspect['split']}")
    pixels = images[np.array([suspect["row"] for suspect in suspects], int)]
    title = "Worth a second look: label → what it looks like; probability of the label"
    columns = min(max(len(suspects), FEWEST_IN_A_ROW), SUSPECTS_IN_A_ROW)
    return image_grid(pixels, titles, columns=columns, title=title)


@styled
def image_grid(
    images: np.ndarray,
    titles: list[str],
    colors: list[str] | None = None,
    columns: int = 3,
    title: str | None = None,
) -> Figure:
    """Plot images in rows; without images, plot the word "none".

    Args:
        images: uint8 [N, H, W, 3].
        titles: N strings; lines that are too long are wrapped.
        colors: N colours of the titles and of the frames; None: dark titles, no frames.
        columns: Images in a row.
        title: Of the figure.
    """
    rows = max(-(-len(images) // columns), 1)
    ratio = images[0].shape[0] / images[0].shape[1] if len(images) else 0.3
    width = np.sqrt(GRID_PIXELS / (rows * columns * ratio)).clip(90, 260) / STYLE["figure.dpi"]
    room = width * 72 / (GLYPH_WIDTH * 9)
    titles = ["\n".join(_wrap(line, room) for line in text.split("\n")) for text in titles]
    lines = max((text.count("\n") + 1 for text in titles), default=0)
    height = width * ratio + lines * 0.16 + 0.12
    figure = Figure(figsize=(columns * (width + 0.12), rows * height + (0.4 if title else 0)))
    if title:
        figure.suptitle(title, size=12)
    if not len(images):
        figure.text(0.5, 0.35, "none", ha="center", va="center", color=REFERENCE["color"])
        return figure
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    frame = 2 if colors else 0
    colors = colors or ["#333333"] * len(images)
    cells = zip(grid[: len(images)], images, titles, colors, strict=True)
    for axes, image, text, color in cells:
        axes.set_axis_on()
        axes.grid(False)
        axes.set(xticks=[], yticks=[])
        axes.imshow(image)
        axes.set_title(text, size=9, color=color, pad=4)
        axes.spines[:].set(visible=True, color=color, linewidth=frame)
    return figure


def _wrap(line: str, room: float) -> str:
    """Break a line so that each part fits into so many mean characters."""
    width = count_columns(line) / max(len(line), 1)  # of a character; 1 for Latin ones
    return textwrap.fill(line, int(room / max(width, 1)))
