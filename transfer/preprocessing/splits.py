"""Which picture is in which split: stratified, and no content in two of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

from transfer.core.errors import UserError, printable
from transfer.data.labels import (
    COPY,
    SPLITS,
    TWO_LABELS,
    ImageTable,
    Rejected,
    missing_classes,
    summary,
)


def drop_duplicates(pictures: ImageTable, hashes: np.ndarray) -> tuple[np.ndarray, list[Rejected]]:
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
    pictures: ImageTable, rejected: Sequence[Rejected], limit: float, where: Path
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


def assign_splits(
    pictures: ImageTable, val_fraction: float, test_fraction: float, seed: int
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
        if missing := missing_classes(pictures, splits, code):
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
