"""Which picture is in which split: stratified, and no content in two of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split

from transfer.errors import UserError, printable

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
class Pictures:
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

    def at(self, indices: np.ndarray) -> "Pictures":
        """Return some of them."""
        paths = [self.paths[index] for index in indices]
        return Pictures(paths, self.labels[indices], self.given_splits[indices], self.class_names)


class Rejected(NamedTuple):
    """A picture that is left out: its path below data/raw, why, and the kind of that reason."""

    path: str
    reason: str
    kind: str


UNREADABLE, TWO_LABELS, COPY = KINDS = ("unreadable", "with two labels", "second copies")


def label_pictures(paths: Sequence[str]) -> Pictures:
    """Read label and split off the folders: `cats/1.jpg` or `train/cats/1.jpg`.

    Pictures that lie in no class folder are left out.

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
    pictures = Pictures(
        paths, np.fromiter(labels, np.int32), np.fromiter(splits, np.int8), class_names
    )
    for code in set(pictures.given_splits.tolist()) - {-1}:
        if missing := _missing(pictures, pictures.given_splits, code):
            raise UserError(
                f"data_url: the {SPLITS[code]} folder has no pictures of {', '.join(missing)}"
            )
    return pictures


def _missing(pictures: Pictures, splits: np.ndarray, code: int) -> list[str]:
    """Return the classes that have no picture in a split, an index into SPLITS."""
    found = set(pictures.labels[splits == code].tolist())
    return [name for number, name in enumerate(pictures.class_names) if number not in found]


def drop_duplicates(pictures: Pictures, hashes: np.ndarray) -> tuple[np.ndarray, list[Rejected]]:
    """Keep one picture of each content, and none of a content that has two labels.

    Args:
        hashes: Of the contents, [N] of any type that can be sorted.

    Returns:
        Indices of the pictures kept, int [K], ascending, and the others.
    """
    order = np.argsort(hashes, kind="stable")  # equal ones beside each other, in their order
    ordered = hashes[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    ends = np.append(starts[1:], len(order))
    kept, rejected = [order[starts[ends - starts == 1]]], []
    for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
        indices = order[start:end]
        paths = [pictures.paths[i] for i in indices]
        names = [pictures.class_names[label] for label in pictures.labels[indices]]
        first_of = dict(zip(reversed(names), reversed(paths), strict=True))
        if len(first_of) == 1:
            kept.append(indices[:1])
            reason = printable(f"the same picture as {paths[0]}")
            rejected += [Rejected(path, reason, COPY) for path in paths[1:]]
        else:
            labels = " and ".join(f"{label} ({path})" for label, path in sorted(first_of.items()))
            reason = printable(f"the same picture is labelled {labels}")
            rejected += [Rejected(path, reason, TWO_LABELS) for path in paths]
    return np.sort(np.concatenate(kept)), rejected


def check_rejected(
    pictures: Pictures, rejected: Sequence[Rejected], limit: float, where: Path
) -> None:
    """Check that pictures of each class are left, and that not too many of all were rejected.

    Args:
        pictures: All, also those rejected.
        limit: The share of them that may be unreadable or have two labels; second copies may be.
        where: The file that names those rejected.

    Raises:
        UserError: A class is lost, or there are more than that.
    """
    reasons = {path: reason for path, reason, _ in rejected}
    labels, total = pictures.labels.tolist(), len(pictures.paths)
    left = {
        label for path, label in zip(pictures.paths, labels, strict=True) if path not in reasons
    }
    if lost := {*labels} - left:
        names = ", ".join(pictures.class_names[label] for label in sorted(lost))
        first = pictures.paths[next(i for i, label in enumerate(labels) if label in lost)]
        message = (
            f"none of the pictures of {names} can be used; the first, {first}: "
            f"{reasons[first]}; {where} names them all: replace them, or remove the class"
        )
        raise UserError(printable(message))
    unusable = [picture for picture in rejected if picture.kind != COPY]
    if len(unusable) > limit * total:
        raise UserError(
            f"{len(unusable):,} of the {total:,} pictures can't be used, and max_rejected "
            f"is {limit}: {'; '.join(summary(unusable))}; {where} names them all: mend or remove "
            "them, or raise max_rejected"
        )


def summary(rejected: Sequence[Rejected]) -> list[str]:
    """Return a line for each kind of reason: how many, and the first."""
    lines = []
    for kind in KINDS:
        if those := sorted(picture for picture in rejected if picture.kind == kind):
            path, reason, _ = those[0]
            lines.append(printable(f"{len(those):,} {kind}, the first {path}: {reason}"))
    return lines


def assign_splits(
    pictures: Pictures, val_fraction: float, test_fraction: float, seed: int
) -> np.ndarray:
    """Return for each picture an index into SPLITS, int [N], stratified by label.

    Splits that folders give stay. Without a validation folder `val_fraction` of the pictures is
    taken from training; without a test folder, `test_fraction` of the validation folder, or of all
    the pictures where there is none.

    Raises:
        UserError: A class has too few pictures to be in every split.
    """
    labels, given = pictures.labels, pictures.given_splits
    train, val, test = range(len(SPLITS))
    splits = np.maximum(given, train)
    if test not in given:
        _move(splits, labels, val if val in given else train, test, test_fraction, seed)
    if val not in given:
        rest = np.count_nonzero(splits == train)
        _move(splits, labels, train, val, val_fraction * len(splits) / rest, seed)
    for code, split in enumerate(SPLITS):
        if missing := _missing(pictures, splits, code):
            raise UserError(
                f"{split} would have no pictures of {', '.join(missing)}; add pictures of it, or "
                "change val_fraction and test_fraction"
            )
    return splits


def _move(
    splits: np.ndarray, labels: np.ndarray, source: int, target: int, share: float, seed: int
) -> None:
    """Move `share` of the pictures of `source` to `target`, stratified by label."""
    rows = np.flatnonzero(splits == source)
    try:
        _, moved = train_test_split(rows, test_size=share, stratify=labels[rows], random_state=seed)
    except ValueError as error:  # such as a class with one picture only
        raise UserError(
            f"the {len(rows)} {SPLITS[source]} pictures can't be dealt out, {share:.0%} of them to "
            f"{SPLITS[target]}: {error}"
        ) from None
    splits[moved] = target
