"""Images out of an archive or a folder: safely, and all of them, or one line that says why."""

import errno
import lzma
import math
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import BinaryIO

from tqdm import tqdm

from transfer.core.errors import UserError, one_line, shown
from transfer.core.files import is_plain
from transfer.download.fetch import CHUNK, what_it_is

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
ARCHIVE_SUFFIXES = {".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"}
# Images are compressed already (JPEG in zip: 1.0 times); only a bomb expands like this.
MAX_EXPANSION = 100
MIN_EXPANSION_BYTES = 1 << 30
BLOCK = 4096  # bytes that the smallest file takes on a disk
END_BYTES = 22  # of what stands at the end of a zip, before its comment
# What the libraries raise for damaged bytes. zipfile raises RuntimeError for a missing password.
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, RuntimeError, OSError, ValueError, LookupError, OverflowError),
)

# Name inside the source, and how to open it; None for a folder.
Member = tuple[str, Callable[[], BinaryIO] | None]


def unpack(source: Path, target: Path) -> None:
    """Copy the pictures of an archive (zip, tar.*) or a folder to `target`, folders as they are.

    Hidden files and those that are no pictures are left out, and so are links and devices in an
    archive; links in a folder are followed.

    Raises:
        UserError: It is no archive, damaged, encrypted or a bomb, or a name in it leads out of
            `target`, occurs twice or can't be a file's.
    """
    if source.is_dir():
        copy(_folder_members(source), target, math.inf)
        return
    limit = max(MAX_EXPANSION * source.stat().st_size, MIN_EXPANSION_BYTES)
    try:
        if tarfile.is_tarfile(source):  # first: a tar that ends with a zip looks like one
            with tarfile.open(source, tarinfo=_TarInfo) as archive:
                copy(_tar_members(archive, limit), target, limit)
        elif zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                copy(_zip_members(archive), target, limit)
        else:
            raise UserError(
                f"data_url: expected a whole zip or tar archive; received {source.name}, "
                f"{what_it_is(source)}"
            )
    except DAMAGE as error:
        if getattr(error, "errno", None) not in (None, errno.EINVAL):  # such as a full disk
            raise  # EINVAL: a damaged number, where to read on
        raise UserError(
            f"data_url: {source.name} is damaged or encrypted: {one_line(error)}; "
            "fetch or make it again"
        ) from None


def copy(members: Iterable[Member], target: Path, limit: float) -> None:
    """Copy the pictures among `members` to `target`.

    Raises:
        UserError: A name leads out of `target`, occurs twice or can't be a file's, or they take
            more than `limit` bytes on disk.
    """
    total, pictures, nested = 0, 0, None
    for name, open_member in tqdm(members, desc="unpack", unit=" files", disable=None):
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or re.match("[a-zA-Z]:", name):
            raise UserError(f"data_url: the archive is unsafe: {shown(name)} leads out of it")
        if is_hidden(path):
            continue
        suffix = path.suffix.lower()
        if open_member and suffix not in SUFFIXES:
            nested = name if suffix in ARCHIVE_SUFFIXES else nested
            continue
        if not is_plain(name):
            raise UserError(
                f"data_url: the name {shown(name)} has control characters or is not in UTF-8; "
                "rename it"
            )
        total += _write(name, open_member, target / path, limit - total)
        pictures += open_member is not None
        if total > limit:
            raise _bomb(limit)
    if nested and not pictures:
        raise UserError(
            f"data_url: no pictures, but an archive inside: {shown(nested)}; unpack it, and set "
            "data_url to the folder"
        )


def is_hidden(path: PurePath) -> bool:
    """Tell whether a file, or a folder that it is in, is hidden or macOS' own."""
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def _write(name: str, open_member: Callable | None, path: Path, limit: float) -> int:
    """Write a picture, or make a folder; return the bytes that it takes, `limit` or some more."""
    size = 0
    try:
        if open_member is None:
            path.mkdir(parents=True, exist_ok=True)
            return BLOCK
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_member() as source, path.open("xb") as copy:
            while size <= limit and (chunk := source.read(CHUNK)):
                copy.write(chunk)
                size += len(chunk)
    except (FileExistsError, NotADirectoryError):
        raise UserError(
            f"data_url: {shown(name)} occurs twice in the archive, or as a file and as a folder"
        ) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UserError(
                f"data_url: the name {shown(name)} is too long for this disk; rename it"
            ) from None
        if error.errno is not None and error.filename is None:  # of a read or a write
            error.filename = name
        raise
    return max(size, BLOCK)


def _bomb(limit: float) -> UserError:
    return UserError(
        f"data_url: the archive unpacks to over {limit:,} bytes, {MAX_EXPANSION} times its size, "
        "which no pictures do"
    )


def _folder_members(folder: Path, below: str = "", above: tuple = ()) -> Iterator[Member]:
    """Yield what lies below a folder. Links are followed, but for those in a circle."""
    status = folder.stat()
    above = (*above, (status.st_dev, status.st_ino))
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        name = below + entry.name
        if not entry.is_dir():
            yield name, partial(open_file, Path(entry.path))
        elif not entry.name.startswith(".") and not (
            entry.is_symlink() and (os.stat(entry).st_dev, os.stat(entry).st_ino) in above
        ):
            yield name, None
            yield from _folder_members(Path(entry.path), f"{name}/", above)


def open_file(path: Path) -> BinaryIO:
    """Open a file; a link to nothing and a pipe are errors for people."""
    if not path.is_file():  # opening a pipe would wait for ever
        raise UserError(f"data_url: {path} is no file but a link to nothing, or a pipe; remove it")
    return path.open("rb")


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    """Yield the files of a zip; compare the list at its end, which has no checksum, with the rest.

    Else damage to the list would hide pictures.
    """
    archive.fp.seek(-END_BYTES - len(archive.comment), os.SEEK_END)
    end = archive.fp.read(END_BYTES)
    count, members = int.from_bytes(end[10:12], "little"), archive.infolist()
    if end.startswith(b"PK\5\6") and count not in (0xFFFF, len(members) % (1 << 16)):
        raise zipfile.BadZipFile(f"{len(members)} of {count} files are listed")
    for info in members:
        if not info.flag_bits & 1:  # encrypted, which matters only where it is a picture
            archive.open(info).close()  # compares the name with the one before the file
        if not stat.S_ISLNK(info.external_attr >> 16):
            yield info.filename, None if info.is_dir() else partial(archive.open, info)
        elif info.file_size > BLOCK or b"\0" in archive.read(info):  # which no path is
            raise zipfile.BadZipFile(f"{info.filename!r} is called a link, but is none")


def _tar_members(archive: tarfile.TarFile, limit: int) -> Iterator[Member]:
    while (info := archive.next()) is not None:
        archive.members.clear()  # else it remembers them all
        if info.offset_data + info.size > limit:  # before tarfile skips, and so unpacks, a stray
            raise _bomb(limit)
        if info.isfile() or info.isdir():
            yield info.name, None if info.isdir() else partial(archive.extractfile, info)
    # tarfile takes a cut or a damaged header for the end, and leaves a checksum at the end unread.
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("unexpected end of data")
    while archive.fileobj.read(CHUNK):
        if archive.fileobj.tell() > limit:
            raise _bomb(limit)


class _TarInfo(tarfile.TarInfo):
    """A header that may not be a bomb: tarfile reads what stands for a long name into memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if not (self.isreg() or self.isdir()) and self.size > CHUNK:
            raise tarfile.ReadError(f"a header of {self.size:,} bytes")
        return super()._proc_member(archive)
