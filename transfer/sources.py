"""Labelled pictures from a URL, an archive or a folder, brought to one layout and verified."""

import hashlib
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tqdm import tqdm

from transfer import fetch
from transfer.errors import UserError
from transfer.files import list_files, remove, replacing, sha256
from transfer.sample import draw_sample

TUTORIAL_URL = "https://storage.googleapis.com/mledu-datasets/cats_and_dogs_filtered.zip"
# Of the 3,000 pictures, whatever archive holds them: see `content_sha256`.
KNOWN_CONTENT = {TUTORIAL_URL: "61fc1fc142692bbd2457f9e62fe29043348bff260546052a78b8281152294333"}
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
# Pictures are compressed already (JPEG in zip: 1.0 times); only a bomb expands like this.
MAX_EXPANSION = 100
MIN_EXPANSION_BYTES = 1 << 30

# Name inside the source, and how to open it; None for a folder.
Member = tuple[str, Callable[[], BinaryIO] | None]


def get_pictures(data_url: str, data_sha256: str | None, target: Path) -> None:
    """Make `target` a folder of class folders, or of splits with class folders.

    Args:
        data_url: A URL, the path of an archive (zip, tar.*) or a folder, or `sample`.
        data_sha256: The content hash to insist on; None: the known one, if there is one.

    Raises:
        UserError: It can't be had, is damaged or unsafe, holds no classes, or other content.
    """
    expected = data_sha256 or KNOWN_CONTENT.get(data_url)
    with replacing(target) as temporary:
        temporary.mkdir()
        if data_url == "sample":
            draw_sample(temporary)
        else:
            with _local(data_url, keep=expected is not None) as source:
                with _members(source) as members:
                    limit = max(MAX_EXPANSION * source.stat().st_size, MIN_EXPANSION_BYTES)
                    copy_pictures(members, temporary, None if source.is_dir() else limit)
                _check_content(data_url, temporary, expected)
        top = class_root(temporary)
        inner = temporary.with_name(f"{temporary.name}.top")
        remove(inner)  # left by a killed run
        if top != temporary:
            top.rename(inner)
            remove(temporary)
            inner.rename(temporary)


def check_source(data_url: str) -> None:
    """Check what can be known of `data_url` before any work.

    Raises:
        UserError: It is a path where nothing is.
    """
    if data_url != "sample" and not fetch.is_url(data_url):
        path = Path(data_url).expanduser()
        if not path.exists():
            raise UserError(
                "data_url: expected `sample`, a URL, or the path of an archive or a folder "
                f"(absolute, so that `dvc exp run --temp` finds it too); received {data_url!r}, "
                "where nothing is"
            )


def content_sha256(folder: Path) -> str:
    """Return the SHA-256 over the pictures' paths and bytes, whatever archive brought them.

    The same as `find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum` inside `folder`.
    """
    lines = (f"{sha256(folder / name)}  ./{name}\n" for name in list_files(folder))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def class_root(folder: Path) -> Path:
    """Return the folder that holds the class folders: `folder`, or a lone folder inside.

    Raises:
        UserError: There are fewer than two folders beside each other, or one is empty.
    """
    entries = list(folder.iterdir())
    if len(entries) == 1 and entries[0].is_dir():
        return class_root(entries[0])
    folders = sorted(entry.name for entry in entries if entry.is_dir())
    if len(folders) < 2:
        raise UserError(
            "data_url: expected a folder a class, such as cats/ and dogs/, with pictures "
            f"({' '.join(sorted(SUFFIXES))}); received {len(list_files(folder))} pictures and "
            f"{len(folders)} such folders"
        )
    for parent, inner, files in os.walk(folder):
        if not inner and not files:
            raise UserError(
                f"data_url: the folder {os.path.relpath(parent, folder)} holds no picture "
                f"({' '.join(sorted(SUFFIXES))}); fill it or remove it"
            )
    return folder


def copy_pictures(members: Iterator[Member], target: Path, limit: int | None) -> None:
    """Copy the pictures among `members` to `target`; leave hidden and stray files out.

    Raises:
        UserError: A name leads out of `target` or occurs twice, or there are over `limit` bytes.
    """
    total = 0
    for name, open_member in tqdm(members, desc="unpack", unit=" files", disable=None):
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or re.match("[a-zA-Z]:", name):
            raise UserError(f"data_url: the archive is unsafe: {name!r} leads out of its folder")
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
        file = target / path
        if open_member is None and not hidden:
            file.mkdir(parents=True, exist_ok=True)
        if open_member is None or hidden or path.suffix.lower() not in SUFFIXES:
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open_member() as source, file.open("xb") as copy:
                while chunk := source.read(fetch.CHUNK):
                    total += len(chunk)
                    if limit is not None and total > limit:
                        raise UserError(
                            f"data_url: the archive unpacks to over {limit:,} bytes, "
                            f"{MAX_EXPANSION} times its size, which no pictures do"
                        )
                    copy.write(chunk)
        except FileExistsError:
            raise UserError(f"data_url: {name!r} occurs twice in the archive") from None


@contextmanager
def _local(data_url: str, keep: bool) -> Iterator[Path]:
    """Yield the source as a path; a fetched one is kept only once its content was verified."""
    if not fetch.is_url(data_url):
        yield Path(data_url).expanduser()
        return
    mirrored = fetch.in_mirror(fetch.file_name(data_url))
    try:
        source = mirrored or fetch.fetch(data_url)
    except (UserError, FileNotFoundError) as error:
        raise UserError(
            f"data_url can't be fetched: {error}. Three ways on: set {fetch.MIRROR} to a folder "
            "or base URL that holds the file, set data_url to an archive or a folder of your own, "
            "or try `-S data_url=sample`"
        ) from None
    verified = False
    try:
        yield source
        verified = keep
    finally:
        if not verified and source.is_relative_to(fetch.cache_folder()):
            source.unlink()


def _check_content(data_url: str, folder: Path, expected: str | None) -> None:
    top = class_root(folder)
    if expected and (received := content_sha256(top)) != expected:
        raise UserError(
            f"{data_url} holds other pictures than it should ({len(list_files(top))} files): "
            f"expected the content SHA-256 {expected}, received {received}; fetch it again, or set "
            "data_sha256 if the new content is right"
        )


@contextmanager
def _members(source: Path) -> Iterator[Iterator[Member]]:
    """Yield the regular files of a zip or tar archive, or of a folder.

    Raises:
        UserError: It is no archive, encrypted, truncated or otherwise damaged.
    """
    try:
        if source.is_dir():
            yield (
                (str(path.relative_to(source)), None if path.is_dir() else partial(path.open, "rb"))
                for path in sorted(source.rglob("*"))
            )
        elif zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                yield (
                    (info.filename, None if info.is_dir() else partial(archive.open, info))
                    for info in archive.infolist()
                    if not stat.S_ISLNK(info.external_attr >> 16)
                )
        elif tarfile.is_tarfile(source):
            with tarfile.open(source) as archive:
                yield _tar_members(archive)
        else:
            raise UserError(
                f"data_url: expected a whole zip or tar archive; received {source.name}"
            )
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        RuntimeError,
        OSError,
    ) as error:
        if getattr(error, "errno", None) is not None:  # the system's, such as a full disk
            raise
        # zipfile raises RuntimeError where a password is needed
        raise UserError(
            f"data_url: {source.name} is damaged or encrypted: {error}; fetch or make it again"
        ) from None


def _tar_members(archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        if info.isfile() or info.isdir():
            yield info.name, None if info.isdir() else partial(archive.extractfile, info)
    # tarfile takes a cut or a damaged header for the end, and leaves a checksum at the end unread.
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("unexpected end of data")
    while archive.fileobj.read(fetch.CHUNK):
        pass
