"""Assign images to splits: stratified by label, and no content in two splits."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from transfer.core.errors import UserError, printable
from transfer.core.files import CORRECTIONS
from transfer.data.labels import (
    COPY,
    EXCLUDED,
    SPLITS,
    TWO_LABELS,
    ImageTable,
    Rejected,
    missing_classes,
    summary,
)
from transfer.preprocessing.corrections import Corrected

MOST_FOLDS = 10  # of a fraction, such as 3 of 10


def drop_duplicates(table: ImageTable, hashes: np.ndarray) -> tuple[np.ndarray, list[Rejected]]:
    """Keep one image of each content, and none of a content that has two labels.

    Args:
        table: N images.
        hashes: Hashes of their contents, [N] of any dtype that can be sorted.

    Returns:
        Indices of the images kept, int [K], ascending; and the other images.
    """
    order = np.argsort(hashes, kind="stable")  # equal hashes side by side, in their order
    ordered = hashes[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    ends = np.append(starts[1:], len(order))
    kept, rejected = [order[starts[ends - starts == 1]]], []
    for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
        indices = order[start:end]
        paths = [table.paths[i] for i in indices]
        names = [table.class_names[label] for label in table.labels[indices]]
        first_of = dict(zip(reversed(names), reversed(paths), strict=True))
        if len(first_of) == 1:
            kept.append(indices[:1])
            reason = printable(f"the same image as {paths[0]}")
            rejected += [Rejected(path, reason, COPY) for path in paths[1:]]
        else:
            labels = " and ".join(f"{label} ({path})" for label, path in sorted(first_of.items()))
            reason = printable(f"the same image is labelled {labels}")
            rejected += [Rejected(path, reason, TWO_LABELS) for path in paths]
    return np.sort(np.concatenate(kept)), rejected


def check_rejected(
    table: ImageTable, rejected: Sequence[Rejected], max_rejected: float, listing: Path
) -> None:
    """Check that every class has images left, and that not too many images were rejected.

    Args:
        table: All images, including those rejected.
        rejected: The images rejected.
        max_rejected: Maximum fraction of images that may be unreadable or have two labels; second
            copies and excluded images don't count.
        listing: The file that lists those rejected, for the message.

    Raises:
        UserError: A class has no images left, or the fraction is exceeded.
    """
    reasons = {path: reason for path, reason, _ in rejected}
    labels, total = table.labels.tolist(), len(table.paths)
    left = {label for path, label in zip(table.paths, labels, strict=True) if path not in reasons}
    if lost := {*labels} - left:
        names = ", ".join(table.class_names[label] for label in sorted(lost))
        first = table.paths[next(i for i, label in enumerate(labels) if label in lost)]
        message = (
            f"none of the images of {names} can be used; the first, {first}: {reasons[first]}; "
            f"{listing} lists them all: replace them, or remove the class"
        )
        raise UserError(printable(message))
    unusable = [image for image in rejected if image.kind not in (COPY, EXCLUDED)]
    if len(unusable) > max_rejected * total:
        raise UserError(
            f"{len(unusable):,} of the {total:,} images can't be used, and max_rejected is "
            f"{max_rejected}: {'; '.join(summary(unusable))}; {listing} lists them all: fix or "
            "remove them, or raise max_rejected"
        )


def assign_splits(
    table: ImageTable, groups: np.ndarray, val_fraction: float, test_fraction: float, seed: int
) -> np.ndarray:
    """Return the split of each image, an index into SPLITS, int [N], stratified by label.

    No group is divided, but for splits given by folders.

    Splits given by folders are kept. If there is no validation folder, `val_fraction` of all images
    is taken from the training images. If there is no test folder, `test_fraction` of the validation
    folder is taken, or of all images if there is no validation folder either.

    Args:
        table: N images.
        groups: A code for each image, int [N]; images with the same code stay together.
        val_fraction: Fraction for validation, above 0 and below 1.
        test_fraction: Fraction for the test, above 0 and below 1.
        seed: Decides which images these are.

    Raises:
        UserError: A class has too few images for every split.
    """
    labels, given = table.labels, table.given_splits
    train, val, test = range(len(SPLITS))
    splits = np.maximum(given, train)
    try:
        if test not in given:
            source = val if val in given else train
            _move(splits, labels, groups, (source, test), test_fraction, seed)
        if val not in given:
            rest = int(np.count_nonzero(splits == train))
            _move(splits, labels, groups, (train, val), val_fraction * len(splits) / rest, seed)
    except (ValueError, ZeroDivisionError):  # such as a class with one image, or no image to take
        raise _too_few(table, groups, val_fraction, test_fraction) from None
    if any(missing_classes(table, splits, code) for code in (val, test) if code not in given):
        raise _too_few(table, groups, val_fraction, test_fraction)
    check_splits(table, splits, "add images of it, or change val_fraction and test_fraction")
    return splits


def assign_corrected(
    given: ImageTable,
    corrected: Corrected,
    groups: np.ndarray,
    used: np.ndarray,
    excluded: np.ndarray,
    assign: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return the split of each image, so that corrections move none to another split; int [N].

    The splits are stratified by the labels as they were given, and images that are excluded take
    part. Those whose two labels were settled could take no part before; where no folder names their
    split, they go to that of their group, or are for training.

    Args:
        given: N images as they are given.
        corrected: The same images with their corrections.
        groups: A code for each image, int [N]; images with the same code stay together.
        used: Indices of the images used, int [K].
        excluded: Indices of those left out that would be used without corrections, int [L].
        assign: Returns the splits of some of the images as they are given, by their indices.

    Raises:
        UserError: As for `assign_splits`; or corrections have left a split without a class.
    """
    splits = np.maximum(given.given_splits, SPLITS.index("train"))
    rows = np.sort(np.concatenate([used, excluded]))
    rows = rows[~corrected.settled[rows]]
    splits[rows] = assign(rows)
    split_of = dict(zip(groups[rows].tolist(), splits[rows].tolist(), strict=True))
    for row in np.flatnonzero(corrected.settled & (given.given_splits < 0)):
        splits[row] = split_of.get(groups[row], splits[row])
    advice = f"add images of it, or correct fewer of its images in {CORRECTIONS}"
    check_splits(corrected.table.at(used), splits[used], advice)
    return splits


def check_splits(table: ImageTable, splits: np.ndarray, advice: str) -> None:
    """Check that every split has images of every class.

    Args:
        table: N images.
        splits: Their splits, int [N], indices into SPLITS.
        advice: What to do otherwise, for the message.

    Raises:
        UserError: A split has no image of a class.
    """
    for code, split in enumerate(SPLITS):
        if missing := missing_classes(table, splits, code):
            raise UserError(f"{split} would have no images of {', '.join(missing)}; {advice}")


def _move(
    splits: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    between: tuple[int, int],
    fraction: float,
    seed: int,
) -> None:
    """Move a fraction of the images from one split to another, stratified by label."""
    source, target = between
    rows = np.flatnonzero(splits == source)
    if len(np.unique(groups[rows])) == len(rows):
        _, moved = train_test_split(
            rows, test_size=fraction, stratify=labels[rows], random_state=seed
        )
    else:
        moved = rows[_whole_groups(labels[rows], groups[rows], fraction, seed)]
    splits[moved] = target


def _whole_groups(labels: np.ndarray, groups: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Return the indices of about a fraction of the images, whole groups, stratified by label."""
    fewest = min(len(np.unique(groups[labels == label])) for label in np.unique(labels))
    part = Fraction(fraction).limit_denominator(min(MOST_FOLDS, max(2, fewest)))
    taken, of = max(part.numerator, 1), part.denominator
    if taken == of:
        raise ValueError("nothing would be left")
    folds = StratifiedGroupKFold(of, shuffle=True, random_state=seed)
    parts = [rows for _, rows in folds.split(labels, labels, groups)]
    return np.concatenate(parts[:taken])


def _too_few(
    table: ImageTable, groups: np.ndarray, val_fraction: float, test_fraction: float
) -> UserError:
    """Return the error that names the classes which are too small for the splits to be made."""
    val, test = SPLITS.index("val"), SPLITS.index("test")
    divided, fraction = "", min(val_fraction, test_fraction)
    chosen = np.ones(len(table.labels), bool)
    if val in table.given_splits:
        divided, fraction, chosen = " in the val folder", test_fraction, table.given_splits == val
    elif test in table.given_splits:
        divided, fraction, chosen = " in the train folder", val_fraction, table.given_splits != test
    labels, groups = table.labels[chosen], groups[chosen]
    pairs = np.unique(np.stack([labels, groups]), axis=1)  # of a label and a group that has it
    unit = "images" if pairs.shape[1] == len(labels) else "groups of images"
    counts = np.bincount(pairs[0], minlength=len(table.class_names))
    # With 1 / fraction images a class has one in the split. With fewer it may be lucky.
    needed = max(math.ceil(1 / fraction), counts.min() + 1)
    small = np.flatnonzero(counts < needed)
    few = ", ".join(f"{table.class_names[i]} has {counts[i]}" for i in small[:5])
    return UserError(
        printable(
            f"too few {unit}{divided} to have some of every class in every split: {few}"
            f"{', …' if len(small) > 5 else ''}; a class needs about {needed}, which is 1 / "
            f"{fraction:g}: add images, remove the class, or raise val_fraction or test_fraction"
        )
    )
