"""Get labelled images from a URL, an archive, a folder or a table; verify their content."""

import filecmp
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transfer.core.errors import UserError, shown
from transfer.core.files import NO_IMAGES, list_files, refuse_output, remove, replacing
from transfer.core.parallel import AT_A_TIME, map_in_threads
from transfer.core.params import Params
from transfer.data import raw
from transfer.data.find import LeftOut
from transfer.data.labels import COPY, NO_CLASS, Rejected, summary
from transfer.download import fetch
from transfer.download.archives import unpack
from transfer.download.layout import arrange
from transfer.download.sample import draw_sample
from transfer.download.tables import SUFFIX, copy_table, find_table, read_table

TUTORIAL_URL = "https://storage.googleapis.com/mledu-datasets/cats_and_dogs_filtered.zip"
# Of the 3,000 images, whatever archive holds them: see `content_sha256`.
KNOWN_CONTENT = {TUTORIAL_URL: "61fc1fc142692bbd2457f9e62fe29043348bff260546052a78b8281152294333"}


def source_of(params: Params) -> tuple[str, str]:
    """Return which parameter says where the images are, and its value."""
    if params.own_images == NO_IMAGES:
        return "data_url", params.data_url
    return "own_images", params.own_images


@contextmanager
def errors_about(parameter: str) -> Iterator[None]:
    """Name the parameter that the source comes from in errors, which all name data_url."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace("data_url", parameter)) from None


def acquire_images(
    data_url: str, data_sha256: str | None, target: Path
) -> tuple[LeftOut, dict[str, str]]:
    """Make `target` a folder of class folders, or of splits with class folders; pack many images.

    Args:
        data_url: A URL, the path of an archive (zip, tar.*), a folder or a table, or `sample`.
        data_sha256: Content hash that the images must have; None: the known one, if there is one.
        target: The folder to make or replace.

    Returns:
        What was found and is not in `target`; and the names of groups by paths below it, if a
        table gives any.

    Raises:
        UserError: The images can't be fetched, are damaged or unsafe, have no classes, or have
            another content hash.
    """
    expected, left_out, groups = data_sha256 or KNOWN_CONTENT.get(data_url), LeftOut(), {}
    with replacing(target) as temporary:
        remove(_beside(temporary))  # a killed run may have left it
        temporary.mkdir()
        if data_url == "sample":
            draw_sample(temporary)
        else:
            with _local(data_url, keep=expected is not None) as path:
                if table := find_table(path):
                    groups = copy_table(path, table, temporary, left_out)
                else:
                    unpack(path, temporary, left_out)
                    _lay_out(temporary, left_out)
                _check_content(data_url, temporary, expected)
        _pack(temporary)
    return left_out, groups


def check_data_url(data_url: str) -> None:
    """Check what can be known of `data_url` before any work.

    Raises:
        UserError: It is a path without a file or folder, or a table with a mistake.
    """
    if data_url == "sample":
        return
    if fetch.is_url(data_url):
        if Path(fetch.file_name(data_url)).suffix.lower() == SUFFIX:
            raise UserError(
                "data_url: expected a table's path on this machine, since the paths of its images "
                f"are relative to it; received {data_url!r}; fetch it first"
            )
        return
    path = Path(os.path.expanduser(data_url))
    refuse_output(path, "data_url")
    if not path.is_file() and not path.is_dir():
        raise UserError(
            "data_url: expected `sample`, a URL, or the path of an archive, a folder or a table "
            f"(absolute, so that `dvc exp run --temp` finds it too); received {data_url!r}, "
            "which does not exist"
        )
    if table := find_table(path):
        read_table(table)


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
    if expected and (received := content_sha256(folder)) != expected:
        raise UserError(
            f"{data_url} has other images than it should ({len(list_files(folder))} files): "
            f"expected the content SHA-256 {expected}, received {received}; fetch it again, or set "
            "data_sha256 if the new content is right"
        )


def _lay_out(folder: Path, left_out: LeftOut) -> None:
    """Move the images of a data set to where they belong, and remove those without a class.

    Raises:
        UserError: A folder is empty, or it is not clear what the folders mean.
    """
    for parent, inner, files in os.walk(folder):
        if not inner and not files and Path(parent) != folder:
            name = os.path.relpath(parent, folder)
            others = [row for row in left_out.rejected if row.path.startswith(f"{name}/")]
            raise UserError(
                f"data_url: the folder {name} has no images; fill it or remove it{_said(others)}"
            )
    try:
        layout = arrange(list_files(folder))
    except UserError as error:
        raise UserError(f"{error}{_said(left_out.rejected)}") from None
    for name, reason in layout.no_class.items():
        left_out.add(name, reason, NO_CLASS)
    for name, original in layout.copies.items():
        if not filecmp.cmp(folder / name, folder / original, shallow=False):
            raise UserError(
                f"data_url: {shown(name)} is in a folder that copies the whole, but is not the "
                f"same as {shown(original)}; remove one of the two folders"
            )
        left_out.add(name, f"the same image as {original}, in a copy of the whole", COPY)
    if all(name == place for name, place in layout.places.items()):
        for name in {*layout.no_class, *layout.copies}:
            (folder / name).unlink()
        return
    with _replaced(folder) as inner:
        for name, place in layout.places.items():
            (inner / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).rename(inner / place)


def _said(rejected: list[Rejected]) -> str:
    """Return what was left out, as the end of a message."""
    return f" (left out: {'; '.join(summary(rejected))})" if rejected else ""


def _pack(folder: Path) -> None:
    """Pack the images in a folder if they are many."""
    if len(list_files(folder)) > raw.MANY:
        with _replaced(folder) as inner:
            raw.pack(folder, inner)


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside a folder, which it replaces if the block succeeds."""
    inner = _beside(folder)
    try:
        inner.mkdir()
        yield inner
        remove(folder)
        inner.rename(folder)
    finally:
        remove(inner)


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.top")
