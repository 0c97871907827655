"""Labelled pictures from a URL, an archive or a folder, brought to one layout and verified."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transfer.core.errors import UserError
from transfer.core.files import list_files, remove, replacing
from transfer.core.parallel import AT_A_TIME, map_in_threads
from transfer.data import raw
from transfer.download import fetch
from transfer.download.archives import SUFFIXES, unpack
from transfer.download.sample import draw_sample
from transfer.download.tables import SUFFIX, copy_table, read_table

TUTORIAL_URL = "https://storage.googleapis.com/mledu-datasets/cats_and_dogs_filtered.zip"
# Of the 3,000 pictures, whatever archive holds them: see `content_sha256`.
KNOWN_CONTENT = {TUTORIAL_URL: "61fc1fc142692bbd2457f9e62fe29043348bff260546052a78b8281152294333"}


def acquire_images(data_url: str, data_sha256: str | None, target: Path) -> None:
    """Make `target` a folder of class folders, or of splits with class folders; many are packed.

    Args:
        data_url: A URL, the path of an archive (zip, tar.*), a folder or a table, or `sample`.
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
                if source.suffix.lower() == SUFFIX:
                    copy_table(source, temporary)
                else:
                    unpack(source, temporary)
                _check_content(data_url, temporary, expected)
        _lay_out(temporary)


def check_source(data_url: str) -> None:
    """Check what can be known of `data_url` before any work.

    Raises:
        UserError: It is a path where no file or folder is, or a table that is wrong.
    """
    if data_url == "sample":
        return
    path = Path(os.path.expanduser(data_url))
    if fetch.is_url(data_url):
        if path.suffix.lower() == SUFFIX:
            raise UserError(
                "data_url: expected a table's path on this machine, for its pictures' paths begin "
                f"where it lies; received {data_url!r}; fetch it first"
            )
    elif not path.is_file() and not path.is_dir():
        raise UserError(
            "data_url: expected `sample`, a URL, or the path of an archive, a folder or a table "
            f"(absolute, so that `dvc exp run --temp` finds it too); received {data_url!r}, "
            "where there is none"
        )
    elif path.suffix.lower() == SUFFIX:
        read_table(path)


def content_sha256(folder: Path) -> str:
    """Return the SHA-256 over the pictures' paths and bytes, whatever archive brought them.

    The same as `find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum` inside `folder`, were
    they not packed.
    """
    pictures = raw.RawImages(folder)
    hashes = map_in_threads(
        lambda name: raw.sha256_of(pictures.source(name)), pictures.names, AT_A_TIME
    )
    total = hashlib.sha256()
    for content, name in zip(hashes, pictures.names, strict=True):
        total.update(f"{content.hex()}  ./{name}\n".encode())
    return total.hexdigest()


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


@contextmanager
def _local(data_url: str, keep: bool) -> Iterator[Path]:
    """Yield the source as a path; a fetched one is kept only once its content was verified."""
    if not fetch.is_url(data_url):
        yield Path(os.path.expanduser(data_url))
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
    with fetch.kept_if_right(source, keep):
        yield source


def _check_content(data_url: str, folder: Path, expected: str | None) -> None:
    top = class_root(folder)
    if expected and (received := content_sha256(top)) != expected:
        raise UserError(
            f"{data_url} holds other pictures than it should ({len(list_files(top))} files): "
            f"expected the content SHA-256 {expected}, received {received}; fetch it again, or set "
            "data_sha256 if the new content is right"
        )


def _lay_out(folder: Path) -> None:
    """Bring the class folders to the top of a folder, packed where they hold many pictures."""
    top, inner = class_root(folder), folder.with_name(f"{folder.name}.top")
    remove(inner)  # left by a killed run
    try:
        if len(list_files(top)) > raw.MANY:
            raw.pack(top, inner)
        elif top != folder:
            top.rename(inner)
        else:
            return
        remove(folder)
        inner.rename(folder)
    finally:
        remove(inner)
