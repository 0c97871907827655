"""Get labelled images from a URL, an archive, a folder or a table; verify their content."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transfer.core.errors import UserError
from transfer.core.files import list_files, refuse_output, remove, replacing
from transfer.core.parallel import AT_A_TIME, map_in_threads
from transfer.data import raw
from transfer.data.formats import SUFFIXES
from transfer.download import fetch
from transfer.download.archives import unpack
from transfer.download.sample import draw_sample
from transfer.download.tables import SUFFIX, copy_table, read_table

TUTORIAL_URL = "https://storage.googleapis.com/mledu-datasets/cats_and_dogs_filtered.zip"
# Of the 3,000 images, whatever archive holds them: see `content_sha256`.
KNOWN_CONTENT = {TUTORIAL_URL: "61fc1fc142692bbd2457f9e62fe29043348bff260546052a78b8281152294333"}


def acquire_images(data_url: str, data_sha256: str | None, target: Path) -> None:
    """Make `target` a folder of class folders, or of splits with class folders; pack many images.

    Args:
        data_url: A URL, the path of an archive (zip, tar.*), a folder or a table, or `sample`.
        data_sha256: Content hash that the images must have; None: the known one, if there is one.
        target: The folder to make or replace.

    Raises:
        UserError: The images can't be fetched, are damaged or unsafe, have no classes, or have
            another content hash.
    """
    expected = data_sha256 or KNOWN_CONTENT.get(data_url)
    with replacing(target) as temporary:
        temporary.mkdir()
        if data_url == "sample":
            draw_sample(temporary)
        else:
            with _local(data_url, keep=expected is not None) as path:
                if path.suffix.lower() == SUFFIX:
                    copy_table(path, temporary)
                else:
                    unpack(path, temporary)
                _check_content(data_url, temporary, expected)
        _lay_out(temporary)


def check_data_url(data_url: str) -> None:
    """Check what can be known of `data_url` before any work.

    Raises:
        UserError: It is a path without a file or folder, or a table with a mistake.
    """
    if data_url == "sample":
        return
    path = Path(os.path.expanduser(data_url))
    if not fetch.is_url(data_url):
        refuse_output(path, "data_url")
    if fetch.is_url(data_url):
        if path.suffix.lower() == SUFFIX:
            raise UserError(
                "data_url: expected a table's path on this machine, since the paths of its images "
                f"are relative to it; received {data_url!r}; fetch it first"
            )
    elif not path.is_file() and not path.is_dir():
        raise UserError(
            "data_url: expected `sample`, a URL, or the path of an archive, a folder or a table "
            f"(absolute, so that `dvc exp run --temp` finds it too); received {data_url!r}, "
            "which does not exist"
        )
    elif path.suffix.lower() == SUFFIX:
        read_table(path)


def content_sha256(folder: Path) -> str:
    """Return the SHA-256 over the paths and bytes of all images, whatever archive they came in.

    It is what `find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum` prints inside the
    folder; packing the images does not change it.
    """
    images = raw.RawImages(folder)
    hashes = map_in_threads(
        lambda name: raw.sha256_of(images.image_file(name)), images.names, AT_A_TIME
    )
    total = hashlib.sha256()
    for content, name in zip(hashes, images.names, strict=True):
        total.update(f"{content.hex()}  ./{name}\n".encode())
    return total.hexdigest()


def class_root(folder: Path) -> Path:
    """Return the folder that holds the class folders: `folder`, or the only folder inside it.

    Raises:
        UserError: It has fewer than two folders, or one of them is empty.
    """
    entries = list(folder.iterdir())
    if len(entries) == 1 and entries[0].is_dir():
        return class_root(entries[0])
    folders = sorted(entry.name for entry in entries if entry.is_dir())
    if len(folders) < 2:
        raise UserError(
            "data_url: expected one folder per class, such as cats/ and dogs/, with images "
            f"({' '.join(SUFFIXES)}); received {len(list_files(folder))} images and "
            f"{len(folders)} such folders"
        )
    for parent, inner, files in os.walk(folder):
        if not inner and not files:
            raise UserError(
                f"data_url: the folder {os.path.relpath(parent, folder)} has no images "
                f"({' '.join(SUFFIXES)}); fill it or remove it"
            )
    return folder


@contextmanager
def _local(data_url: str, keep: bool) -> Iterator[Path]:
    """Yield the local path of `data_url`; keep a fetched file only if its content was verified."""
    if not fetch.is_url(data_url):
        yield Path(os.path.expanduser(data_url))
        return
    mirrored = fetch.find_in_mirror(fetch.file_name(data_url))
    try:
        path = mirrored or fetch.fetch(data_url)
    except (UserError, FileNotFoundError) as error:
        raise UserError(
            f"data_url can't be fetched: {error}. Three ways on: set {fetch.MIRROR} to a folder "
            "or base URL that has the file, set data_url to an archive or a folder of your own, "
            "or try `-S data_url=sample`"
        ) from None
    with fetch.kept_if_valid(path, keep):
        yield path


def _check_content(data_url: str, folder: Path, expected: str | None) -> None:
    top = class_root(folder)
    if expected and (received := content_sha256(top)) != expected:
        raise UserError(
            f"{data_url} has other images than it should ({len(list_files(top))} files): "
            f"expected the content SHA-256 {expected}, received {received}; fetch it again, or set "
            "data_sha256 if the new content is right"
        )


def _lay_out(folder: Path) -> None:
    """Move the class folders to the top of a folder, or pack the images if they are many."""
    top, inner = class_root(folder), folder.with_name(f"{folder.name}.top")
    remove(inner)  # a killed run may have left it
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
