"""Arrays in .npy files, whose rows are read on demand."""

import math
import os
import weakref
from pathlib import Path
from tokenize import TokenError
from typing import BinaryIO

import numpy as np

from transfer.core.errors import UserError, one_line


class StoredArray:
    """A .npy file whose rows are read on demand.

    It is not a memory map, whose pages count as memory of the process as long as memory is free,
    nor np.load, which can be told to unpickle. The file stays open: it can be read to the end even
    if it is removed or replaced in the meantime.
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
