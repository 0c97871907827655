"""Assign images to splits by their content, so that images that are added move no others."""

import hashlib
from collections.abc import Sequence

import numpy as np

from transfer.data.labels import SPLITS, ImageTable
from transfer.preprocessing.splits import check_splits


def assign_stably(
    table: ImageTable,
    groups: np.ndarray,
    keys: Sequence[str],
    val_fraction: float,
    test_fraction: float,
    seed: int,
) -> np.ndarray:
    """Return the split of each image, an index into SPLITS, int [N].

    A number from 0 to 1, drawn by a hash of seed and key, decides on each group alone. So the
    fractions hold on average only, in each class as well. If that leaves a split without a class,
    the group of the class with the lowest number is taken, as long as the class is that small.

    Args:
        table: N images; splits given by folders are kept, and divided as by `assign_splits`.
        groups: A code for each image, int [N]; images with the same code stay together.
        keys: Of the images, N; the first in the alphabet is that of its group.
        val_fraction: Fraction for validation, above 0 and below 1.
        test_fraction: Fraction for the test, above 0 and below 1.
        seed: Part of what is hashed.

    Raises:
        UserError: A class has too few images for every split.
    """
    train, val, test = range(len(SPLITS))
    given, splits = table.given_splits, np.maximum(table.given_splits, train)
    key_of = {}
    for key, group in sorted(zip(keys, groups.tolist(), strict=True)):
        key_of.setdefault(group, key)
    moves = []
    if test not in given:
        moves.append((val if val in given else train, test, test_fraction))
    if val not in given:
        left = 1 if test in given else 1 - test_fraction
        moves.append((train, val, val_fraction / left))
    for source, target, fraction in moves:
        drawn = {group: draw(seed, SPLITS[target], key) for group, key in key_of.items()}
        numbers = np.array([drawn[group] for group in groups.tolist()])
        rows = np.flatnonzero(splits == source)
        moved = numbers[rows] < fraction
        for label in np.unique(table.labels[rows]):
            of_class = table.labels[rows] == label
            if not moved[of_class].any():
                moved |= numbers[rows] == numbers[rows][of_class].min()
        splits[rows[moved]] = target
    check_splits(table, splits, "add images of it, or change seed, val_fraction or test_fraction")
    return splits


def draw(seed: int, split: str, key: str) -> float:
    """Return a number from 0 to 1 that depends on nothing but the arguments."""
    digest = hashlib.sha256(f"{seed}/{split}/{key}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:7]) / 2**56
