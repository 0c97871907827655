"""The images in data/raw: files in class folders, or packed into shards if there are many.

A shard (transfer/data/shards.py) is an uncompressed zip of some images, which are read from inside
it. Tools that handle files, DVC above all, take as long for one image file as for one shard.
"""

import hashlib
import io
import os
import shutil
import struct
import zipfile
import zlib
from bisect import bisect_left
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from transfer.core.errors import UserError, one_line, shown
from transfer.core.files import list_files
from transfer.data.shards import cut, keys_of

MANY = 10_000  # up to so many images stay in folders, where people can look at them
DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold
LOCAL_HEADER = 30  # bytes before the name of a zip's member; the last four are two lengths
# What zipfile raises for a damaged directory; RuntimeError for an unknown version or method.
DAMAGE = (
    *(zipfile.BadZipFile, EOFError, ValueError, LookupError, RuntimeError),
    *(OverflowError, struct.error),
)

# Where an image is in a shard: the offset of its header, the size of its content in bytes.
MEMBER = np.dtype([("shard", "u4"), ("offset", "u4"), ("size", "u8"), ("crc", "u4")])
# How to read an image: a path, or a function that opens it.
ImageFile = Path | Callable[[], BinaryIO]


class RawImages:
    """The images below a folder, packed or not.

    names: Their paths below the folder, such as `cats/1.jpg`, sorted bytewise.
    """

    def __init__(self, folder: Path) -> None:
        """List the images.

        Raises:
            UserError: A shard is damaged.
        """
        self.folder = folder
        self.shards = sorted(path for path in folder.glob("*.zip") if path.is_file())
        self.names = [] if self.shards else list_files(folder)
        if self.shards:
            tables = [self._list(number) for number in range(len(self.shards))]
            order = sorted(range(len(self.names)), key=lambda i: os.fsencode(self.names[i]))
            self.names = [self.names[i] for i in order]
            self.members = np.concatenate(tables)[order]

    def _list(self, number: int) -> np.ndarray:
        """Add the names in a shard to `names`; return the positions, MEMBER [N]."""
        shard = self.shards[number]
        try:
            with zipfile.ZipFile(shard) as archive:
                infos = archive.infolist()
            rows = ((number, info.header_offset, info.file_size, info.CRC) for info in infos)
            members = np.fromiter(rows, MEMBER, len(infos))
            if (members["offset"] + members["size"] > shard.stat().st_size).any():
                raise zipfile.BadZipFile("its directory leads out of it")
        except DAMAGE as error:
            raise _damaged(shard, one_line(error)) from None
        self.names += [info.filename for info in infos]
        return members

    def image_file(self, name: str) -> ImageFile:
        """Return how to read the image of that name.

        If it is a function, it raises UserError where the shard is damaged.
        """
        return partial(self._open, name) if self.shards else self.folder / name

    def _open(self, name: str) -> BinaryIO:
        index = bisect_left(self.names, os.fsencode(name), key=os.fsencode)
        shard, offset, size, crc = self.members[min(index, len(self.members) - 1)].tolist()
        # Opened for every image: threads don't wait for each other, and few files are open.
        with self.shards[shard].open("rb") as file:
            file.seek(offset)
            header = file.read(LOCAL_HEADER).ljust(LOCAL_HEADER, b"\0")
            name_size, extra_size = struct.unpack("<HH", header[-4:])
            found = file.read(name_size)
            file.seek(extra_size, os.SEEK_CUR)
            content = file.read(size)
        if found != name.encode() or zlib.crc32(content) != crc:
            raise _damaged(self.shards[shard], f"{shown(name)} is not what was packed")
        return io.BytesIO(content)


def sha256_of(image_file: ImageFile) -> bytes:
    """Return the SHA-256 of an image's bytes."""
    with image_file.open("rb") if isinstance(image_file, Path) else image_file() as file:
        return hashlib.file_digest(file, "sha256").digest()


def pack(folder: Path, target: Path) -> None:
    """Move the images below `folder` into shards in a new folder, by hashes of their names.

    Equal images give equal bytes.

    The files of a shard are removed when it is written, so little more of the disk is taken.

    Args:
        folder: Holds class folders or split folders.
        target: The folder to make, or an empty one.
    """
    target.mkdir(exist_ok=True)
    files = list_files(folder)
    hashes = [hashlib.sha256(os.fsencode(name)).hexdigest() for name in files]
    for bits, indices in cut(keys_of(hashes)):
        names = [files[i] for i in indices]
        with zipfile.ZipFile(target / f"{bits or 'all'}.zip", "x") as archive:
            for name in names:
                info = zipfile.ZipInfo(name, DATE)
                info.external_attr = 0o644 << 16
                info.file_size = (folder / name).stat().st_size  # over 2 GiB the header is longer
                with (folder / name).open("rb") as file, archive.open(info, "w") as member:
                    shutil.copyfileobj(file, member)
        for name in names:
            (folder / name).unlink()


def _damaged(shard: Path, reason: str) -> UserError:
    return UserError(f"{shard} is damaged: {reason}; `dvc repro --force download` makes it again")
