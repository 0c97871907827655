"""The pictures in data/raw: files in class folders or, where they are many, packed into shards.

A shard is an uncompressed zip of thousands of pictures, which are read where they lie. Whatever
handles files, DVC above all, takes as long for one of them as for a shard.
"""

import hashlib
import io
import os
import shutil
import struct
import zipfile
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from transfer.core.errors import UserError, one_line, shown
from transfer.core.files import list_files

MANY = 10_000  # pictures that stay in folders, for people to look into; more are packed
SHARD_IMAGES = 5_000  # at most, and
SHARD_BYTES = 1 << 28  # at least, but for the last: few enough files, none too large to send again
DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can say
LOCAL_HEADER = 30  # bytes before a picture's name in a zip; the last four are two lengths
# What zipfile raises for a damaged list: RuntimeError for a version or a method that there is not.
DAMAGE = (
    *(zipfile.BadZipFile, EOFError, ValueError, LookupError, RuntimeError),
    *(OverflowError, struct.error),
)

# Of a picture in a shard, where it has its header and then so many bytes.
PLACE = np.dtype([("shard", "u4"), ("offset", "u4"), ("size", "u8"), ("crc", "u4")])
# Of one picture: its file, or how to open it.
ImageFile = Path | Callable[[], BinaryIO]


class RawImages:
    """The pictures below a folder, packed or not.

    names: Their paths below it, such as `cats/1.jpg`, sorted bytewise.
    """

    def __init__(self, folder: Path):
        """List the pictures.

        Raises:
            UserError: A shard is damaged.
        """
        self.folder = folder
        self.shards = sorted(path for path in folder.glob("*.zip") if path.is_file())
        self.names = [] if self.shards else list_files(folder)
        tables = [self._list(number) for number in range(len(self.shards))]
        self.places = np.concatenate(tables) if tables else None

    def _list(self, number: int) -> np.ndarray:
        """Add the names in a shard; return where they are, PLACE [N]."""
        shard = self.shards[number]
        try:
            with zipfile.ZipFile(shard) as archive:
                members = archive.infolist()
            rows = ((number, m.header_offset, m.file_size, m.CRC) for m in members)
            places = np.fromiter(rows, PLACE, len(members))
            if (places["offset"] + places["size"] > shard.stat().st_size).any():
                raise zipfile.BadZipFile("its list of pictures leads out of it")
        except DAMAGE as error:
            raise _damaged(shard, one_line(error)) from None
        self.names += [member.filename for member in members]
        return places

    def source(self, name: str) -> ImageFile:
        """Return what one of the pictures is read from.

        If it is a function, it raises UserError where the shard is damaged.
        """
        return partial(self._open, name) if self.shards else self.folder / name

    def _open(self, name: str) -> BinaryIO:
        index = bisect_left(self.names, os.fsencode(name), key=os.fsencode)
        shard, offset, size, crc = self.places[min(index, len(self.places) - 1)].tolist()
        # Opened for each picture: no thread waits for another, and no number of files stays open.
        with self.shards[shard].open("rb") as file:
            file.seek(offset)
            of_name, of_extra = struct.unpack("<HH", file.read(LOCAL_HEADER)[-4:].ljust(4, b"\0"))
            found = file.read(of_name)
            file.seek(of_extra, os.SEEK_CUR)
            content = file.read(size)
        if found != name.encode() or zlib.crc32(content) != crc:
            raise _damaged(self.shards[shard], f"{shown(name)} is not what was packed")
        return io.BytesIO(content)


def sha256_of(source: ImageFile) -> bytes:
    """Return the SHA-256 of a picture's bytes."""
    with source.open("rb") if isinstance(source, Path) else source() as file:
        return hashlib.file_digest(file, "sha256").digest()


def pack(folder: Path, target: Path) -> None:
    """Move the pictures below `folder` into shards in a new folder; equal ones give equal bytes.

    They go with each shard, so that they take little more of the disk than before.
    """
    target.mkdir()
    for number, names in enumerate(_shares(folder, list_files(folder))):
        with zipfile.ZipFile(target / f"{number:05}.zip", "x") as archive:
            for name in names:
                member = zipfile.ZipInfo(name, DATE)
                member.external_attr = 0o644 << 16
                member.file_size = (folder / name).stat().st_size  # over 2 GiB, its header grows
                with (folder / name).open("rb") as file, archive.open(member, "w") as packed:
                    shutil.copyfileobj(file, packed)
        for name in names:
            (folder / name).unlink()


def _shares(folder: Path, names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Deal names out to shards, in their order."""
    start, size = 0, 0
    for end, name in enumerate(names, 1):
        size += (folder / name).stat().st_size
        if end - start == SHARD_IMAGES or size >= SHARD_BYTES or end == len(names):
            yield names[start:end]
            start, size = end, 0


def _damaged(shard: Path, reason: str) -> UserError:
    return UserError(f"{shard} is damaged: {reason}; `dvc repro --force download` makes it again")
