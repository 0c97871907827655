"""What the folders of an image say about it: its label and its split; why an image is rejected."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from transfer.core.errors import UserError, printable

SPLITS = ("train", "val", "test")
FOLDER_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class ImageTable:
    """Image files with their labels, in columns, since there may be millions.

    paths: N paths below data/raw.
    labels: int [N], indices into `class_names`.
    given_splits: int [N], indices into SPLITS if the folders name splits, else -1.
    class_names: Sorted.
    """

    paths: list[str]
    labels: np.ndarray
    given_splits: np.ndarray
    class_names: list[str]

    def at(self, indices: np.ndarray) -> "ImageTable":
        """Return the rows at some indices, int [K], as a table."""
        paths = [self.paths[index] for index in indices]
        return ImageTable(paths, self.labels[indices], self.given_splits[indices], self.class_names)


class Rejected(NamedTuple):
    """An image that is left out: its path below data/raw, the reason, and the kind of reason."""

    path: str
    reason: str
    kind: str


UNREADABLE, TWO_LABELS, COPY, EXCLUDED, NOT_IMAGES, NO_CLASS = KINDS = (
    *("unreadable", "with two labels", "second copies", "excluded"),
    *("not images", "in no class folder"),
)
EXCLUDE = "exclude"  # what corrections.csv has for a label, where an image is to be left out


def label_images(paths: Sequence[str]) -> ImageTable:
    """Derive labels and splits from folders: `cats/1.jpg` or `train/cats/1.jpg`.

    Images outside a class folder are left out.

    Args:
        paths: Paths below the folder that holds the class folders or the split folders.

    Raises:
        UserError: There are fewer than two classes, or a split has no images of a class.
    """
    tops = sorted({path.split("/", 1)[0] for path in paths if "/" in path})
    split_of = {top: FOLDER_NAMES.get(top.lower()) for top in tops}
    found = {*split_of.values()}
    has_splits = bool(found - {None})
    if has_splits and ("train" not in found or None in found):
        raise UserError(
            "data_url: expected one folder per class, or train/ with validation/ or test/ beside "
            f"it; received {', '.join(tops)}"
        )
    depth = int(has_splits)  # number of folders above the class folders
    paths = [path for path in paths if path.count("/") > depth]
    class_names = sorted({path.split("/", depth + 1)[depth] for path in paths})
    if len(class_names) < 2:
        raise UserError(
            f"data_url: expected images of two or more classes; received {class_names or 'none'}"
        )
    codes = {name: code for code, name in enumerate(class_names)}
    labels = (codes[path.split("/", depth + 1)[depth]] for path in paths)
    split_codes = {top: SPLITS.index(split) for top, split in split_of.items() if split}
    splits = (split_codes.get(path.split("/", 1)[0], -1) for path in paths)
    table = ImageTable(
        paths, np.fromiter(labels, np.int32), np.fromiter(splits, np.int8), class_names
    )
    for code in set(table.given_splits.tolist()) - {-1}:
        if missing := missing_classes(table, table.given_splits, code):
            raise UserError(
                f"data_url: the {SPLITS[code]} folder has no images of {', '.join(missing)}"
            )
    return table


def missing_classes(table: ImageTable, splits: np.ndarray, code: int) -> list[str]:
    """Return the names of the classes that have no image in a split.

    Args:
        table: N images.
        splits: Their splits, int [N], indices into SPLITS.
        code: The split, an index into SPLITS.
    """
    found = set(table.labels[splits == code].tolist())
    return [name for label, name in enumerate(table.class_names) if label not in found]


def summary(rejected: Sequence[Rejected]) -> list[str]:
    """Return a line for each kind of reason: the number of images, and the first one."""
    lines = []
    for kind in KINDS:
        if of_kind := sorted(image for image in rejected if image.kind == kind):
            path, reason, _ = of_kind[0]
            lines.append(printable(f"{len(of_kind):,} {kind}, the first {path}: {reason}"))
    return lines
