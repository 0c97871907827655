"""Find the images among files: by what a file begins with, or by a suffix that promises one.

A file with the suffix of an image that begins otherwise counts as an image, too: a broken one,
which is worth a word of its own when it is decoded.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import BinaryIO

from transfer.core.errors import UserError, one_line, printable, shown
from transfer.data.formats import FORMATS, SUFFIXES
from transfer.data.labels import ARCHIVES, NOT_IMAGES, Rejected

START = 32  # bytes of a file that tell its format
# BMP is told by the size of its second header, too, since many a text begins with BM.
SIGNATURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|(?P<tiff>II[*+]\0|MM\0[*+])"
    rb"|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    re.DOTALL,
)
# Raw files of cameras that pass for a TIFF: a small preview is all that could be read of them.
CAMERA_SUFFIXES = {
    *(".3fr", ".arw", ".cr2", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef", ".mos"),
    *(".nef", ".nrw", ".pef", ".rwl", ".sr2", ".srf", ".srw"),
}
ARCHIVE = {
    b"PK\3\4": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\7": "RAR",
    b"\x28\xb5\x2f\xfd": "Zstandard (.zst)",
    b"\x04\x22\x4d\x18": "LZ4",
    b"\x1f\x9d": "compress (.Z)",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"LZIP": "lzip",
    b"MSCF": "Cabinet (.cab)",
}
ARCHIVE_SUFFIXES = {".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"}
# What Windows, network drives and photo programs leave in folders; names with a dot at the start
# and __MACOSX are hidden, too.
SYSTEM_NAMES = {
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "icon\r"),
    *("@eadir", "@recycle", "#recycle", "$recycle.bin", "system volume information"),
    *("recycler", "lost+found"),
}

# Name below the folder or archive, with slashes; and a function that opens the file, None for a
# folder, or the reason why it is left out.
Member = tuple[str, Callable[[], BinaryIO] | None | str]


@dataclass
class LeftOut:
    """What was found and is not used.

    rejected: Files that are no images, with the reason.
    hidden: Paths of hidden files and folders and of those that systems make.
    """

    rejected: list[Rejected] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)

    def add(self, name: str, reason: str, kind: str = NOT_IMAGES) -> None:
        """Add a file that is not used; its name need not be printable."""
        self.rejected.append(Rejected(printable(name), printable(reason), kind))


def find_images(folder: Path) -> tuple[list[str], LeftOut]:
    """Find all images below a folder; links are followed unless they lead in a circle.

    Args:
        folder: Any folder.

    Returns:
        Their paths below the folder, in the order of the names; and what else is there.
    """
    names, left_out = [], LeftOut()
    for name, open_member in used_members(folder_members(folder), left_out):
        if open_member:
            with opened_image(name, open_member, left_out, strict=False) as opened:
                if opened:
                    names.append(name)
    return names, left_out


def used_members(members: Iterator[Member], left_out: LeftOut) -> Iterator[Member]:
    """Yield the files and folders that are not hidden; collect the others."""
    for name, open_member in members:
        parts = name.replace("\\", "/").split("/")
        number = next((i for i, part in enumerate(parts) if is_hidden(PurePath(part))), None)
        if number is not None:
            left_out.hidden.add("/".join(parts[: number + 1]))
        elif isinstance(open_member, str):
            left_out.add(name, open_member)
        else:
            yield name, open_member


@contextmanager
def opened_image(
    name: str, open_member: Callable[[], BinaryIO], left_out: LeftOut, strict: bool = True
) -> Iterator[tuple[BinaryIO, bytes] | None]:
    """Open a file if it is an image; otherwise collect why it is not.

    Args:
        name: Of the file.
        open_member: Opens it.
        left_out: Where to add a file that is no image.
        strict: Raise what prevents opening a file that has the suffix of an image.

    Yields:
        The open file and the bytes already read from its start; or None.
    """
    file = nullcontext()
    try:
        file = open_member()
    except (UserError, PermissionError, RuntimeError) as error:  # RuntimeError: a password
        if strict and has_image_suffix(name):
            raise
        left_out.add(name, getattr(error, "strerror", None) or one_line(error))
    with file as opened:
        start = opened.read(START) if opened else b""
        if opened and is_image(name, start):
            yield opened, start
            return
    if opened and (form := archive_format(name, start)):
        left_out.add(name, f"an archive ({form}), which is not unpacked", ARCHIVES)
    elif opened:
        left_out.add(name, describe(start))
    yield None


def is_image(name: str, start: bytes) -> bool:
    """Return whether a file is to be read as an image.

    Args:
        name: Of the file.
        start: Its first START bytes.
    """
    found = SIGNATURE.match(start)
    is_raw = found and found["tiff"] and PurePath(name).suffix.lower() in CAMERA_SUFFIXES
    return has_image_suffix(name) or bool(found and not is_raw)


def has_image_suffix(name: str) -> bool:
    """Return whether a name ends as that of an image."""
    return PurePath(name).suffix.lower() in SUFFIXES


def archive_format(name: str, start: bytes) -> str | None:
    """Return the format of an archive, by its first bytes or its suffix; None for other files."""
    for signature, form in ARCHIVE.items():
        if start.startswith(signature):
            return form
    suffix = PurePath(name).suffix.lower()
    return suffix[1:] if suffix in ARCHIVE_SUFFIXES else None


def describe(start: bytes) -> str:
    """Return why a file that begins so is no image."""
    if not start:
        return "an empty file"
    return f"not {', '.join(FORMATS)}: it begins with {shown(start[:16])}"


def is_hidden(path: PurePath) -> bool:
    """Return whether a file, or a folder that holds it, is hidden or made by a system."""
    return any(
        part.startswith((".", "__MACOSX")) or part.lower() in SYSTEM_NAMES for part in path.parts
    )


def folder_members(folder: Path, below: str = "", above: tuple = ()) -> Iterator[Member]:
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
        elif entry.is_symlink() and (os.stat(entry).st_dev, os.stat(entry).st_ino) in above:
            yield name, "a link that leads in a circle"
        else:
            yield name, None
            if not is_hidden(PurePath(entry.name)):
                yield from folder_members(Path(entry.path), f"{name}/", above)


def is_image_file(path: Path) -> bool:
    """Return whether there is a file that is to be read as an image."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return is_image(path.name, file.read(START))


def open_file(path: Path) -> BinaryIO:
    """Open a file.

    Raises:
        UserError: It is a broken link or a pipe.
    """
    if not path.is_file():  # opening a pipe would wait for ever
        raise UserError(f"{path} is not a file but a broken link or a pipe; remove it")
    return path.open("rb")
