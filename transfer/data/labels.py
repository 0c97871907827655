"""What an image's folders say of it: its label and its split; and why an image is left out."""

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
    """Picture files, in columns, for they may be millions.

    paths: N paths below data/raw.
    labels: int [N], indices into `class_names`.
    given_splits: int [N], indices into SPLITS, where folders say it, else -1.
    class_names: Sorted.
    """

    paths: list[str]
    labels: np.ndarray
    given_splits: np.ndarray
    class_names: list[str]

    def at(self, indices: np.ndarray) -> "ImageTable":
        """Return some of them."""
        paths = [self.paths[index] for index in indices]
        return ImageTable(paths, self.labels[indices], self.given_splits[indices], self.class_names)


class Rejected(NamedTuple):
    """A picture that is left out: its path below data/raw, why, and the kind of that reason."""

    path: str
    reason: str
    kind: str


UNREADABLE, TWO_LABELS, COPY = KINDS = ("unreadable", "with two labels", "second copies")


def label_images(paths: Sequence[str]) -> ImageTable:
    """Read label and split off the folders: `cats/1.jpg` or `train/cats/1.jpg`.

    Images that lie in no class folder are left out.

    Raises:
        UserError: Fewer than two classes, or a split without pictures of a class.
    """
    tops = sorted({path.split("/", 1)[0] for path in paths if "/" in path})
    split_of = {top: FOLDER_NAMES.get(top.lower()) for top in tops}
    found = {*split_of.values()}
    has_splits = bool(found - {None})
    if has_splits and ("train" not in found or None in found):
        raise UserError(
            "data_url: expected a folder a class, or train/ with validation/ or test/ beside "
            f"it; received {', '.join(tops)}"
        )
    above = int(has_splits)  # so many folders are above those of the classes
    paths = [path for path in paths if path.count("/") > above]
    class_names = sorted({path.split("/", above + 1)[above] for path in paths})
    if len(class_names) < 2:
        raise UserError(
            f"data_url: expected pictures of two or more classes; received {class_names or 'none'}"
        )
    numbers = {name: number for number, name in enumerate(class_names)}
    labels = (numbers[path.split("/", above + 1)[above]] for path in paths)
    codes = {top: SPLITS.index(split) for top, split in split_of.items() if split}
    splits = (codes.get(path.split("/", 1)[0], -1) for path in paths)
    pictures = ImageTable(
        paths, np.fromiter(labels, np.int32), np.fromiter(splits, np.int8), class_names
    )
    for code in set(pictures.given_splits.tolist()) - {-1}:
        if missing := missing_classes(pictures, pictures.given_splits, code):
            raise UserError(
                f"data_url: the {SPLITS[code]} folder has no pictures of {', '.join(missing)}"
            )
    return pictures


def missing_classes(pictures: ImageTable, splits: np.ndarray, code: int) -> list[str]:
    """Return the classes that have no picture in a split, an index into SPLITS."""
    found = set(pictures.labels[splits == code].tolist())
    return [name for number, name in enumerate(pictures.class_names) if number not in found]


def summary(rejected: Sequence[Rejected]) -> list[str]:
    """Return a line for each kind of reason: how many, and the first."""
    lines = []
    for kind in KINDS:
        if those := sorted(picture for picture in rejected if picture.kind == kind):
            path, reason, _ = those[0]
            lines.append(printable(f"{len(those):,} {kind}, the first {path}: {reason}"))
    return lines
