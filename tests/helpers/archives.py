"""Archives and folders of images, as sources of the download stage."""

import io
import tarfile
import zipfile
from functools import partial

import pytest

from transfer.core.errors import UserError
from transfer.core.files import list_files
from transfer.download.acquire import acquire_images

FILES = {"cats/1.jpg": b"one", "cats/2.PNG": b"two", "dogs/1.jpg": b"three"}
STRAY = {"README.md": b"r", "vectorize.py": b"v", "cats/.1.jpg": b"h", ".git/x.jpg": b"g"}
STRAY |= {"__MACOSX/cats/._1.jpg": b"m", "cats/Thumbs.db": b"t"}
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0"  # how all begin


def write_folder(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_zip(path, files, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path, files, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


WRITERS = {
    "folder": write_folder,
    "a.zip": write_zip,
    "a.tar": write_tar,
    "a.tar.gz": partial(write_tar, mode="w:gz"),
    "a.tar.bz2": partial(write_tar, mode="w:bz2"),
    "a.tar.xz": partial(write_tar, mode="w:xz"),
}


def read(folder):
    return {name: (folder / name).read_bytes() for name in list_files(folder)}


def refuse(source, message, target, data_sha256=None):
    """Check for one line about `source`, and that the old target stays as it was."""
    write_folder(target, {"old/old.jpg": b"old"})
    with pytest.raises(UserError, match=message) as caught:
        acquire_images(str(source), data_sha256, target)
    assert "\n" not in str(caught.value)
    assert read(target) == {"old/old.jpg": b"old"}
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def member(name, kind=tarfile.REGTYPE, size=0, **attributes):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def write_headers(path, *infos):
    """Write FILES, and then headers alone: what they promise does not follow."""
    write_tar(path, FILES)
    with tarfile.open(path, "a", format=tarfile.PAX_FORMAT) as archive:
        for info in infos:
            archive.addfile(info)
    return path
