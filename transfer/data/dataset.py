"""The split data set on disk: one array of pixels and a manifest, row by row."""

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import BinaryIO

import numpy as np

from transfer.core.errors import UserError, one_line
from transfer.core.files import iter_csv

IMAGES = "images.npy"
MANIFEST = "manifest.csv"
REJECTED = "rejected.csv"
NEAR_DUPLICATES = "near_duplicates.csv"
MANIFEST_COLUMNS = ("path", "label", "split", "sha256", "width", "height")
NEAR_DUPLICATES_COLUMNS = ("path", "split", "other_path", "other_split", "distance")
# From places in a split, int [B], and a view, from 1, to arrays [B, …].
Reader = Callable[[np.ndarray, int], tuple[np.ndarray, ...]]


class StoredArray:
    """A .npy file whose rows are read when they are asked for.

    Not a memory map, whose pages count as the process' memory for as long as there is some; nor
    np.load, which can be told to unpickle.
    """

    def __init__(self, path: Path):
        """Read the header.

        Raises:
            UserError: The file is not whole, or no rows of numbers that `np.save` wrote.
        """
        self.path = path
        with path.open("rb") as file:
            try:
                version = np.lib.format.read_magic(file)
                self.shape, is_fortran, self.dtype = np.lib.format.read_array_header_1_0(file)
                size = file.tell() + math.prod(self.shape) * self.dtype.itemsize
                is_whole = size == path.stat().st_size and min(self.shape, default=0) >= 0
                is_plain = version == (1, 0) and not is_fortran and not self.dtype.hasobject
                if not is_whole or not is_plain or len(self.shape) < 2:
                    raise ValueError(f"version {version}, {self.dtype} {list(self.shape)}")
            except (ValueError, TypeError, SyntaxError, TokenError) as error:
                raise UserError(
                    f"{path} is damaged or not the file it should be: expected rows of numbers as "
                    f"NumPy saves them, received {one_line(error)}; dvc repro makes it again"
                ) from None
            self.start = file.tell()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return some rows, in new memory.

        Args:
            rows: int [B].

        Raises:
            UserError: The file ends before them.
        """
        values = np.empty((len(rows), *self.shape[1:]), self.dtype)
        with self.path.open("rb", buffering=0) as file:
            for value, row in zip(values, rows, strict=True):
                file.seek(self.start + int(row) * value.nbytes)
                if file.readinto(value) != value.nbytes:
                    raise UserError(f"{self.path} is damaged: it ends in row {row}")
        return values


@dataclass(frozen=True)
class Split:
    """The pictures of one split.

    images: uint8 [M, H, W, 3], those of all the splits, on disk.
    rows: int [N], the rows of `images` that are this split's.
    labels: int [N], indices into `class_names`.
    paths: N paths below data/raw.
    """

    images: StoredArray
    rows: np.ndarray
    labels: np.ndarray
    paths: list[str]
    class_names: list[str]


def load_split(folder: Path, split: str) -> Split:
    """Open a split that the stage `split` wrote."""
    numbers, rows, labels, paths = {}, array("q"), array("q"), []
    for index, row in enumerate(iter_csv(folder / MANIFEST)):
        number = numbers.setdefault(row["label"], len(numbers))
        if row["split"] == split:
            rows.append(index)
            labels.append(number)
            paths.append(row["path"])
    class_names = sorted(numbers)
    index_of = np.array([class_names.index(name) for name in numbers])
    return Split(
        images=StoredArray(folder / IMAGES),
        rows=np.array(rows),
        labels=index_of[labels],
        paths=paths,
        class_names=class_names,
    )


def plain_pixels(split: Split) -> Reader:
    """Return the source of a split's pixels as they are, uint8 [B, H, W, 3]."""
    return lambda places, epoch: (split.images[split.rows[places]],)


def write_array_header(file: BinaryIO, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Write the head of a .npy file, whose rows follow as bytes.

    NumPy pads it so that it keeps its length when the first dimension grows.
    """
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
