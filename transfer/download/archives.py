"""Copy all images of an archive or a folder, safely; or say in one line why it is not possible."""

import errno
import lzma
import math
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tqdm import tqdm

from transfer.core.errors import UserError, one_line, shown
from transfer.core.files import describe_content, is_plain
from transfer.data.find import (
    START,
    LeftOut,
    Member,
    archive_format,
    folder_members,
    opened_image,
    used_members,
)
from transfer.data.labels import ARCHIVES
from transfer.download.fetch import CHUNK
from transfer.download.links import followed, link_target
from transfer.download.zips import zip_members

# Images are compressed already (a JPEG in a zip expands 1.0 times), so only a bomb expands so much.
MAX_EXPANSION = 100
MIN_EXPANSION_BYTES = 1 << 30
BLOCK = 4096  # bytes that the smallest file takes on a disk
# What the libraries raise for damaged bytes; zipfile raises RuntimeError for a missing password.
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, RuntimeError, OSError, ValueError, LookupError, OverflowError),
)


def unpack(path: Path, target: Path, left_out: LeftOut) -> None:
    """Copy the images of an archive (zip, tar.*) or a folder to `target`, with their folders.

    Links in a folder are followed; links in an archive, too, if they stay in it.

    Args:
        path: The archive or folder.
        target: An empty folder.
        left_out: Where to add all other files.

    Raises:
        UserError: The file is no archive, damaged, encrypted or a bomb; or a name in it leads out
            of `target`, occurs twice or can't be the name of a file.
    """
    if path.is_dir():
        copy_images(folder_members(path), target, math.inf, left_out)
        return
    limit = max(MAX_EXPANSION * path.stat().st_size, MIN_EXPANSION_BYTES)
    try:
        if tarfile.is_tarfile(path):  # first, since a tar that ends with a zip passes for a zip
            with tarfile.open(path, tarinfo=_TarInfo) as archive:
                copy_images(_checked(_tar_members(archive, limit), limit), target, limit, left_out)
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                copy_images(_checked(zip_members(archive), limit), target, limit, left_out)
        else:
            raise _no_archive(path)
    except DAMAGE as error:
        if getattr(error, "errno", None) not in (None, errno.EINVAL):  # such as a full disk
            raise  # EINVAL comes from a damaged offset
        raise UserError(
            f"data_url: {path.name} is damaged or encrypted: {one_line(error)}; "
            "fetch or make it again"
        ) from None


def copy_images(members: Iterable[Member], target: Path, limit: float, left_out: LeftOut) -> None:
    """Copy the images among some files to `target`.

    Args:
        members: The files, and the folders that hold them.
        target: An empty folder.
        limit: Maximum number of bytes that the images may take on disk.
        left_out: Where to add all other files.

    Raises:
        UserError: A name leads out of `target`, occurs twice or can't be the name of a file; or
            the limit is exceeded.
    """
    total, image_count = 0, 0
    bar = tqdm(members, desc="unpack", unit=" files", disable=None)
    for name, open_member in used_members(_inside(bar), left_out):
        with _explained(name):
            if open_member is None:
                _path(name, target).mkdir(parents=True, exist_ok=True)
                total += BLOCK
            else:
                with opened_image(name, open_member, left_out) as opened:
                    if opened:
                        total += _write(*opened, _path(name, target), limit - total)
                        image_count += 1
        if total > limit:
            raise _bomb(limit)
    archives = [row for row in left_out.rejected if row.kind == ARCHIVES]
    if archives and not image_count:
        raise UserError(
            f"data_url: no images, but an archive inside: {shown(archives[0].path)}; unpack it, "
            "and set data_url to the folder"
        )


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Say what is wrong with a name that can't be written, and which file can't be read."""
    try:
        yield
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


def _inside(members: Iterable[Member]) -> Iterator[Member]:
    """Yield members, all of whose names stay inside the folder that they are unpacked to."""
    for name, open_member in members:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise _unsafe(name)
        yield name, open_member


def _checked(members: Iterable[Member], limit: float) -> Iterator[Member]:
    """Yield the members of an archive; refuse drives of Windows and links that multiply files."""
    for number, (name, open_member) in enumerate(members):
        if re.match(r"[a-zA-Z]:[\\/]", name):
            raise _unsafe(name)
        if number * BLOCK > limit:
            raise _bomb(limit)
        yield name, open_member


def _path(name: str, target: Path) -> Path:
    """Return where an image or a folder is written to.

    Raises:
        UserError: The name has control characters or is not in UTF-8, so it fits into no table.
    """
    if re.search("[\ud800-\udfff]", name):
        raise UserError(
            f"data_url: the name {shown(name)} is not in UTF-8; rename it, or unpack the archive "
            "with a program that is told its encoding, such as unzip -O CP932 or 7-Zip, and set "
            "data_url to the folder"
        )
    if not is_plain(name):
        raise UserError(f"data_url: the name {shown(name)} has control characters; rename it")
    return target / name.replace("\\", "/")


def _write(member: BinaryIO, start: bytes, path: Path, limit: float) -> int:
    """Write an image; return the bytes that it takes on disk.

    Args:
        member: The open image.
        start: The bytes already read from its start.
        path: Where to write it.
        limit: Writing ends when it is exceeded.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    size, chunk = 0, start
    with path.open("xb") as copy:
        while chunk and size <= limit:
            copy.write(chunk)
            size += len(chunk)
            chunk = member.read(CHUNK)
    return max(size, BLOCK)


def _no_archive(path: Path) -> UserError:
    with path.open("rb") as file:
        form = archive_format("", file.read(START))
    if form not in (None, "zip", "gzip", "bzip2", "xz"):  # these are read, if whole and of a tar
        return UserError(
            f"data_url: {path.name} is packed as {form}, which is not read; unpack it, and set "
            "data_url to the folder"
        )
    return UserError(
        f"data_url: expected a whole zip or tar archive; received {path.name}, "
        f"{describe_content(path)}"
    )


def _unsafe(name: str) -> UserError:
    return UserError(f"data_url: the archive is unsafe: {shown(name)} leads out of it")


def _bomb(limit: float) -> UserError:
    return UserError(
        f"data_url: the archive unpacks to over {limit:,} bytes, {MAX_EXPANSION} times its size, "
        "which images never do; if you trust it, unpack it and set data_url to the folder"
    )


def _tar_members(archive: tarfile.TarFile, limit: int) -> Iterator[Member]:
    """Yield the files of a tar; check that it ends where a tar ends."""
    links = {}
    for info in _infos(archive, limit):
        if info.isfile() or info.isdir():
            yield info.name, None if info.isdir() else partial(archive.extractfile, info)
        elif info.islnk():
            links[info.name] = info.linkname
        elif info.issym():
            links[info.name] = link_target(info.name, info.linkname)
        else:
            yield info.name, "a device or a pipe"
    # tarfile takes a cut or damaged header for the end, and does not read a checksum at the end.
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("unexpected end of data")
    while chunk := archive.fileobj.read(CHUNK):
        if archive.fileobj.tell() > limit:
            raise _bomb(limit)
        if chunk.strip(b"\0"):
            raise UserError(
                f"data_url: {Path(archive.name).name} goes on after the end of a tar, as two tars "
                "in one file do; unpack it with tar --ignore-zeros, and set data_url to the folder"
            )
    if links:
        yield from _linked(archive.name, links, limit)


def _linked(path: str, links: dict[str, str], limit: int) -> Iterator[Member]:
    """Yield what the links of a tar lead to, in the order in which a compressed tar is read."""
    with tarfile.open(path, tarinfo=_TarInfo) as archive:
        infos = {info.name: info for info in _infos(archive, limit) if info.isfile()}
        files = []
        for name, found in followed(infos, links):
            if isinstance(found, str):
                yield name, found
            else:
                files.append((name, found))
        for name, info in sorted(files, key=lambda file: file[1].offset_data):
            yield name, partial(archive.extractfile, info)


def _infos(archive: tarfile.TarFile, limit: int) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of a tar from where it stands."""
    while (info := archive.next()) is not None:
        archive.members.clear()  # otherwise memory grows with their number
        # Checked before tarfile skips a file that is not copied, which decompresses it.
        if info.offset_data + info.size > limit:
            raise _bomb(limit)
        yield info


class _TarInfo(tarfile.TarInfo):
    """A header of limited size: tarfile reads a header for a long name into memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if not (self.isreg() or self.isdir()) and self.size > CHUNK:
            raise tarfile.ReadError(f"a header of {self.size:,} bytes")
        return super()._proc_member(archive)
