"""Which picture is in which split: stratified, and no content in two of them."""

from collections import defaultdict
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
class Picture:
    """A picture file: its path below data/raw, its label, and its split where a folder says it."""

    path: str
    label: str
    given_split: str | None


class Rejected(NamedTuple):
    """A picture that is left out: its path below data/raw, why, and the kind of that reason."""

    path: str
    reason: str
    kind: str


UNREADABLE, TWO_LABELS, COPY = KINDS = ("unreadable", "with two labels", "second copies")


def label_pictures(paths: Sequence[str]) -> list[Picture]:
    """Read label and split off the folders: `cats/1.jpg` or `train/cats/1.jpg`.

    Pictures that lie in no class folder are left out.

    Raises:
        UserError: Fewer than two classes, or a split without pictures of a class.
    """
    parts = [path.split("/") for path in paths]
    tops = {p[0] for p in parts if len(p) > 1}
    if splits := {FOLDER_NAMES.get(top.lower()) for top in tops} - {None}:
        strangers = sorted(top for top in tops if top.lower() not in FOLDER_NAMES)
        if strangers or "train" not in splits:
            raise UserError(
                "data_url: expected a folder a class, or train/ with validation/ or test/ beside "
                f"it; received {', '.join(sorted(tops))}"
            )
        pictures = [
            Picture(path, p[1], FOLDER_NAMES[p[0].lower()])
            for path, p in zip(paths, parts, strict=True)
            if len(p) > 2
        ]
    else:
        pictures = [
            Picture(path, p[0], None) for path, p in zip(paths, parts, strict=True) if len(p) > 1
        ]
    labels = sorted({picture.label for picture in pictures})
    if len(labels) < 2:
        raise UserError(
            f"data_url: expected pictures of two or more classes; received {labels or 'none'}"
        )
    for split in sorted({p.given_split for p in pictures if p.given_split}):
        found = {p.label for p in pictures if p.given_split == split}
        if missing := sorted(set(labels) - found):
            raise UserError(f"data_url: the {split} folder has no pictures of {', '.join(missing)}")
    return pictures


def drop_duplicates(
    pictures: Sequence[Picture], hashes: Sequence[str]
) -> tuple[list[int], list[Rejected]]:
    """Keep one picture of each content, and none of a content that has two labels.

    Returns:
        Indices of the pictures kept, and the others.
    """
    same = defaultdict(list)
    for index, content in enumerate(hashes):
        same[content].append(index)
    kept, rejected = [], []
    for indices in same.values():
        paths = [pictures[i].path for i in indices]
        first_of = {pictures[i].label: pictures[i].path for i in reversed(indices)}
        if len(first_of) == 1:
            kept.append(indices[0])
            reason = printable(f"the same picture as {paths[0]}")
            rejected += [Rejected(path, reason, COPY) for path in paths[1:]]
        else:
            labels = " and ".join(f"{label} ({path})" for label, path in sorted(first_of.items()))
            reason = printable(f"the same picture is labelled {labels}")
            rejected += [Rejected(path, reason, TWO_LABELS) for path in paths]
    return kept, rejected


def check_rejected(
    pictures: Sequence[Picture], rejected: Sequence[Rejected], limit: float, where: Path
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
    left = {picture.label for picture in pictures if picture.path not in reasons}
    if lost := {picture.label for picture in pictures} - left:
        first = next(picture.path for picture in pictures if picture.label in lost)
        message = (
            f"none of the pictures of {', '.join(sorted(lost))} can be used; the first, {first}: "
            f"{reasons[first]}; {where} names them all: replace them, or remove the class"
        )
        raise UserError(printable(message))
    unusable = [picture for picture in rejected if picture.kind != COPY]
    if len(unusable) > limit * len(pictures):
        raise UserError(
            f"{len(unusable):,} of the {len(pictures):,} pictures can't be used, and max_rejected "
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
    pictures: Sequence[Picture], val_fraction: float, test_fraction: float, seed: int
) -> list[str]:
    """Return train, val or test for each picture, stratified by label.

    Splits that folders give stay. Without a validation folder `val_fraction` of the pictures is
    taken from training; without a test folder, `test_fraction` of the validation folder, or of all
    the pictures where there is none.

    Raises:
        UserError: A class has too few pictures to be in every split.
    """
    labels = np.array([picture.label for picture in pictures])
    splits = np.array([picture.given_split or "train" for picture in pictures], dtype="U5")
    given = set(splits)
    if "test" not in given:
        _move(splits, labels, "val" if "val" in given else "train", "test", test_fraction, seed)
    if "val" not in given:
        rest = np.count_nonzero(splits == "train")
        _move(splits, labels, "train", "val", val_fraction * len(splits) / rest, seed)
    for split in SPLITS:
        if missing := sorted(set(labels) - set(labels[splits == split])):
            raise UserError(
                f"{split} would have no pictures of {', '.join(missing)}; add pictures of it, or "
                "change val_fraction and test_fraction"
            )
    return splits.tolist()


def _move(
    splits: np.ndarray, labels: np.ndarray, source: str, target: str, share: float, seed: int
) -> None:
    """Move `share` of the pictures of `source` to `target`, stratified by label."""
    rows = np.flatnonzero(splits == source)
    try:
        _, moved = train_test_split(rows, test_size=share, stratify=labels[rows], random_state=seed)
    except ValueError as error:  # such as a class with one picture only
        raise UserError(
            f"the {len(rows)} {source} pictures can't be dealt out, {share:.0%} of them to "
            f"{target}: {error}"
        ) from None
    splits[moved] = target
