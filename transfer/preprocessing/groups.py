"""Group images that must not be divided among splits: of one patient, animal, camera or burst."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from transfer.core.errors import UserError, printable, shown
from transfer.data.labels import SPLITS, ImageTable


def name_groups(paths: Sequence[str], given: dict[str, str], pattern: str | None) -> list[str]:
    """Return the name of each image's group, N of them; empty for an image of no group.

    Args:
        paths: N paths below data/raw.
        given: Names of groups by path, as a table gives them; they win over the pattern.
        pattern: A regular expression that is searched for in the name of the file. Its first
            parenthesis, or all that it finds, is the name of the group. None: there is none.
    """
    search = re.compile(pattern).search if pattern else lambda name: None

    def name_of(path: str) -> str:
        match = search(PurePosixPath(path).name)
        found = (match[1] if match.re.groups else match[0]) if match else None
        return given.get(path) or found or ""

    return [name_of(path) for path in paths]


def join_groups(names: Sequence[str], pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return a code for each image, int [N]: equal for images that have to stay together.

    Args:
        names: Of the groups, N; an image with an empty name is a group of its own.
        pairs: Indices of two images that have to stay together as well, whatever their groups.
    """
    own = [name or index for index, name in enumerate(names)]
    codes = {key: code for code, key in enumerate(dict.fromkeys(own))}
    groups = np.array([codes[key] for key in own], np.int64)
    if not len(pairs):
        return groups
    first, second = groups[np.asarray(pairs)].T
    links = coo_array((np.ones(len(pairs), bool), (first, second)), (len(codes), len(codes)))
    _, joined = connected_components(links, directed=False)
    return joined[groups]


def check_given_splits(table: ImageTable, names: Sequence[str]) -> None:
    """Check that no named group stands in two of the splits that the data came with.

    Args:
        table: N images.
        names: Of their groups.

    Raises:
        UserError: One does.
    """
    first = {}
    for path, name, split in zip(table.paths, names, table.given_splits.tolist(), strict=True):
        other, other_split = first.setdefault(name, (path, split)) if name else (path, split)
        if split != other_split:
            message = (
                f"data_url: the group {shown(name)} stands in {SPLITS[other_split]} ({other}) and "
                f"in {SPLITS[split]} ({path}), as the splits were given; move its images into one "
                "split, or give no splits"
            )
            raise UserError(printable(message))
