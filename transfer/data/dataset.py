"""The split data set on disk: the pixels in shards, and a manifest with a row for each image."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transfer.core.files import iter_csv
from transfer.data.labels import EXCLUDE
from transfer.data.shards import StoredImages, key_of

IMAGES = "images"
MANIFEST = "manifest.csv"
REJECTED = "rejected.csv"
NEAR_DUPLICATES = "near_duplicates.csv"
CORRECTED = "corrected.csv"
MANIFEST_COLUMNS = ("path", "label", "split", "sha256", "width", "height", "group")
NEAR_DUPLICATES_COLUMNS = ("path", "split", "other_path", "other_split", "distance")
# An image that is left out has the label EXCLUDE, and the split that it would be in.
CORRECTED_COLUMNS = ("path", "split", "given_label", "label")
# From indices of images in a split, int [B], and a view, from 1, to arrays [B, …].
Reader = Callable[[np.ndarray, int], tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class Split:
    """The images of one split.

    images: uint8 [M, H, W, 3], the images of all splits, on disk.
    rows: int [N], the rows of `images` that belong to this split.
    labels: int [N], indices into `class_names`.
    paths: N paths below data/raw.
    class_names: Sorted.
    """

    images: StoredImages
    rows: np.ndarray
    labels: np.ndarray
    paths: list[str]
    class_names: list[str]


def load_split(folder: Path, split: str) -> Split:
    """Open a split that the stage `split` wrote.

    Args:
        folder: Where the stage wrote it.
        split: `train`, `val` or `test`.
    """
    codes, rows, labels, paths, keys = {}, array("q"), array("q"), [], array("Q")
    for index, row in enumerate(iter_csv(folder / MANIFEST)):
        code = codes.setdefault(row["label"], len(codes))
        keys.append(key_of(row["sha256"]))
        if row["split"] == split:
            rows.append(index)
            labels.append(code)
            paths.append(row["path"])
    class_names = sorted(codes)
    label_of = np.array([class_names.index(name) for name in codes])
    return Split(
        images=StoredImages(folder / IMAGES, np.array(keys, np.uint64)),
        rows=np.array(rows),
        labels=label_of[labels],
        paths=paths,
        class_names=class_names,
    )


def given_labels(folder: Path, name: str, split: Split) -> tuple[np.ndarray, int]:
    """Return the labels of a split's images as they were given, before corrections.csv.

    Args:
        folder: As for `load_split`.
        name: Of the split, as for `load_split`.
        split: What `load_split` returned.

    Returns:
        int [N], and the number of images that corrections.csv has left out of the split.
    """
    rows = [row for row in iter_csv(folder / CORRECTED) if row["split"] == name]
    given = {row["path"]: row["given_label"] for row in rows if row["label"] != EXCLUDE}
    labels = split.labels.copy()
    for index, path in enumerate(split.paths):
        if path in given:
            labels[index] = split.class_names.index(given[path])
    return labels, len(rows) - len(given)


def evenly_spaced(total: int, max_count: int) -> np.ndarray:
    """Return at most `max_count` of `total` indices, evenly spaced, int [min(total, max_count)]."""
    count = min(total, max_count)
    return np.arange(count) * total // max(count, 1)


def plain_pixels(split: Split) -> Reader:
    """Return a reader of a split's pixels without augmentation, uint8 [B, H, W, 3]."""
    return lambda indices, view: (split.images[split.rows[indices]],)
