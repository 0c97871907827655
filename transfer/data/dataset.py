"""The split data set on disk: one array of pixels and a manifest, with a row for each image."""

import math
import os
import weakref
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import BinaryIO

import numpy as np

from transfer.core.errors import UserError, one_line
from transfer.core.files import iter_csv
from transfer.data.labels import EXCLUDE

IMAGES = "images.npy"
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


class StoredArray:
    """A .npy file whose rows are read on demand.

    It is not a memory map, whose pages count as memory of the process as long as there is any, nor
    np.load, which can be told to unpickle. The file stays open: it can be read to the end even if
    it is removed or replaced in the meantime.
    """

    def __init__(self, path: Path) -> None:
        """Open the file and read its header.

        Raises:
            UserError: The file is not whole, or does not hold rows of numbers as `np.save` does.
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
            self.file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self.file)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return some rows in new memory; several threads may read at once.

        Args:
            rows: Indices of the rows, int [B].

        Raises:
            UserError: The file ends before them.
        """
        values = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for value, row in zip(values, rows, strict=True):
            if not read_array(self.file, self.start + int(row) * value.nbytes, value):
                raise UserError(f"{self.path} is damaged: it ends in row {row}")
        return values


def read_array(file: int, offset: int, array: np.ndarray) -> bool:
    """Fill an array with bytes of an open file; return whether the file has as many.

    os.preadv would save a copy, but macOS has it only since version 11.

    Args:
        file: File descriptor. Its position is neither used nor changed.
        offset: Where in the file the array begins, in bytes.
        array: The array to fill, of any shape and any dtype without objects.
    """
    content = os.pread(file, array.nbytes, offset)
    if len(content) != array.nbytes:
        return False
    if content:
        array[...] = np.frombuffer(content, array.dtype).reshape(array.shape)
    return True


@dataclass(frozen=True)
class Split:
    """The images of one split.

    images: uint8 [M, H, W, 3], the images of all splits, on disk.
    rows: int [N], the rows of `images` that belong to this split.
    labels: int [N], indices into `class_names`.
    paths: N paths below data/raw.
    class_names: Sorted.
    """

    images: StoredArray
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
    codes, rows, labels, paths = {}, array("q"), array("q"), []
    for index, row in enumerate(iter_csv(folder / MANIFEST)):
        code = codes.setdefault(row["label"], len(codes))
        if row["split"] == split:
            rows.append(index)
            labels.append(code)
            paths.append(row["path"])
    class_names = sorted(codes)
    label_of = np.array([class_names.index(name) for name in codes])
    return Split(
        images=StoredArray(folder / IMAGES),
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
    for index in [index for index, path in enumerate(split.paths) if path in given]:
        labels[index] = split.class_names.index(given[split.paths[index]])
    return labels, len(rows) - len(given)


def evenly_spaced(total: int, max_count: int) -> np.ndarray:
    """Return at most `max_count` of `total` indices, evenly spaced, int [min(total, max_count)]."""
    count = min(total, max_count)
    return np.arange(count) * total // max(count, 1)


def plain_pixels(split: Split) -> Reader:
    """Return a reader of a split's pixels without augmentation, uint8 [B, H, W, 3]."""
    return lambda indices, view: (split.images[split.rows[indices]],)


def write_array_header(file: BinaryIO, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Write the header of a .npy file, whose rows follow as bytes.

    NumPy pads the header, so that it keeps its length when the first dimension grows.

    Args:
        file: Open for writing, at its beginning.
        dtype: Type of the numbers.
        shape: Shape of the whole array.
    """
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
