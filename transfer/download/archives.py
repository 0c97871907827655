"""Copy all images of an archive or a folder, safely; or say in one line why it is not possible."""

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
from transfer.core.files import describe_content, is_plain
from transfer.data.formats import SUFFIXES
from transfer.download.fetch import CHUNK

ARCHIVE_SUFFIXES = {".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"}
# Images are compressed already (a JPEG in a zip expands 1.0 times), so only a bomb expands so much.
MAX_EXPANSION = 100
MIN_EXPANSION_BYTES = 1 << 30
BLOCK = 4096  # bytes that the smallest file takes on a disk
END_BYTES = 22  # size of the record at the end of a zip, without its comment
# What the libraries raise for damaged bytes; zipfile raises RuntimeError for a missing password.
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, RuntimeError, OSError, ValueError, LookupError, OverflowError),
)

# Name inside the archive or folder, and a function that opens the file; None for a folder.
Member = tuple[str, Callable[[], BinaryIO] | None]


def unpack(path: Path, target: Path) -> None:
    """Copy the images of an archive (zip, tar.*) or a folder to `target`, with their folders.

    Hidden files and files of other types are left out, and so are links and devices in an archive.
    Links in a folder are followed.

    Args:
        path: The archive or folder.
        target: An empty folder.

    Raises:
        UserError: The file is no archive, damaged, encrypted or a bomb; or a name in it leads out
            of `target`, occurs twice or can't be the name of a file.
    """
    if path.is_dir():
        copy_images(_folder_members(path), target, math.inf)
        return
    limit = max(MAX_EXPANSION * path.stat().st_size, MIN_EXPANSION_BYTES)
    try:
        if tarfile.is_tarfile(path):  # first, since a tar that ends with a zip passes for a zip
            with tarfile.open(path, tarinfo=_TarInfo) as archive:
                copy_images(_tar_members(archive, limit), target, limit)
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                copy_images(_zip_members(archive), target, limit)
        else:
            raise UserError(
                f"data_url: expected a whole zip or tar archive; received {path.name}, "
                f"{describe_content(path)}"
            )
    except DAMAGE as error:
        if getattr(error, "errno", None) not in (None, errno.EINVAL):  # such as a full disk
            raise  # EINVAL comes from a damaged offset
        raise UserError(
            f"data_url: {path.name} is damaged or encrypted: {one_line(error)}; "
            "fetch or make it again"
        ) from None


def copy_images(members: Iterable[Member], target: Path, limit: float) -> None:
    """Copy the images among some files to `target`.

    Args:
        members: The files, and the folders that hold them.
        target: An empty folder.
        limit: Maximum number of bytes that the images may take on disk.

    Raises:
        UserError: A name leads out of `target`, occurs twice or can't be the name of a file; or
            the limit is exceeded.
    """
    total, image_count, nested = 0, 0, None
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
        image_count += open_member is not None
        if total > limit:
            raise _bomb(limit)
    if nested and not image_count:
        raise UserError(
            f"data_url: no images, but an archive inside: {shown(nested)}; unpack it, and set "
            "data_url to the folder"
        )


def is_hidden(path: PurePath) -> bool:
    """Return whether a file, or a folder that holds it, is hidden or metadata of macOS."""
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def _write(name: str, open_member: Callable | None, path: Path, limit: float) -> int:
    """Write an image or make a folder; return the bytes that it takes on disk.

    Writing ends when `limit` is exceeded.
    """
    size = 0
    try:
        if open_member is None:
            path.mkdir(parents=True, exist_ok=True)
            return BLOCK
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_member() as member, path.open("xb") as copy:
            while size <= limit and (chunk := member.read(CHUNK)):
                copy.write(chunk)
                size += len(chunk)
    except (FileExistsError, NotADirectoryError):
        raise UserError(
            f"data_url: {shown(name)} occurs twice in the archive, or as a file and a folder, or "
            "in two cases that this disk takes for one; unpack it, rename one, and give the folder"
        ) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UserError(
                f"data_url: the name {shown(name)} is too long for this disk; rename it"
            ) from None
        if error.errno is not None and error.filename is None:  # by a read or a write
            error.filename = name
        raise
    return max(size, BLOCK)


def _bomb(limit: float) -> UserError:
    return UserError(
        f"data_url: the archive unpacks to over {limit:,} bytes, {MAX_EXPANSION} times its size, "
        "which images never do; if you trust it, unpack it and set data_url to the folder"
    )


def _folder_members(folder: Path, below: str = "", above: tuple = ()) -> Iterator[Member]:
    """Yield the contents of a folder; links are followed unless they lead in a circle.

    Args:
        folder: The folder.
        below: What to put before the names.
        above: Device and inode of each folder above this one.
    """
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
    """Open a file.

    Raises:
        UserError: It is a broken link or a pipe.
    """
    if not path.is_file():  # opening a pipe would wait for ever
        raise UserError(f"data_url: {path} is not a file but a broken link or a pipe; remove it")
    return path.open("rb")


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    """Yield the files of a zip; check its directory, which has no checksum, against the rest.

    Otherwise damage to the directory would hide images.
    """
    archive.fp.seek(-END_BYTES - len(archive.comment), os.SEEK_END)
    end = archive.fp.read(END_BYTES)
    count, members = int.from_bytes(end[10:12], "little"), archive.infolist()
    if end.startswith(b"PK\5\6") and count not in (0xFFFF, len(members) % (1 << 16)):
        raise zipfile.BadZipFile(f"{len(members)} of {count} files are listed")
    for info in members:
        if not info.flag_bits & 1:  # 1: encrypted, which matters only for an image
            archive.open(info).close()  # compares the name with the one before the content
        if not stat.S_ISLNK(info.external_attr >> 16):
            yield info.filename, None if info.is_dir() else partial(archive.open, info)
        elif info.file_size > BLOCK or b"\0" in archive.read(info):  # no path is like this
            raise zipfile.BadZipFile(f"{info.filename!r} is marked as a link, but is none")


def _tar_members(archive: tarfile.TarFile, limit: int) -> Iterator[Member]:
    """Yield the files of a tar; check that it ends where a tar ends."""
    while (info := archive.next()) is not None:
        archive.members.clear()  # otherwise memory grows with their number
        # Checked before tarfile skips a file that is not copied, which decompresses it.
        if info.offset_data + info.size > limit:
            raise _bomb(limit)
        if info.isfile() or info.isdir():
            yield info.name, None if info.isdir() else partial(archive.extractfile, info)
    # tarfile takes a cut or damaged header for the end, and does not read a checksum at the end.
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("unexpected end of data")
    while archive.fileobj.read(CHUNK):
        if archive.fileobj.tell() > limit:
            raise _bomb(limit)


class _TarInfo(tarfile.TarInfo):
    """A header of limited size: tarfile reads a header for a long name into memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if not (self.isreg() or self.isdir()) and self.size > CHUNK:
            raise tarfile.ReadError(f"a header of {self.size:,} bytes")
        return super()._proc_member(archive)
