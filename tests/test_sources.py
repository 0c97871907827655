import bz2
import errno
import gzip
import io
import lzma
import os
import stat
import subprocess
import tarfile
import zipfile
from functools import partial

import numpy as np
import pytest

from transfer import fetch, sources
from transfer.errors import UserError
from transfer.files import list_files
from transfer.sources import class_root, content_sha256, get_pictures

FILES = {"cats/1.jpg": b"one", "cats/2.PNG": b"two", "dogs/1.jpg": b"three"}
STRAY = {"README.md": b"r", "vectorize.py": b"v", "cats/.1.jpg": b"h", ".git/x.jpg": b"g"}
STRAY |= {"__MACOSX/cats/._1.jpg": b"m", "cats/Thumbs.db": b"t"}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv(fetch.MIRROR, raising=False)
    monkeypatch.setattr(fetch, "RETRY_SECONDS", 0.01)


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
    "a.tar.xz": partial(write_tar, mode="w:xz"),
}


def read(folder):
    return {name: (folder / name).read_bytes() for name in list_files(folder)}


def refuse(source, message, target, data_sha256=None):
    """Check for one line about `source`, and that the old target stays as it was."""
    write_folder(target, {"old/old.jpg": b"old"})
    with pytest.raises(UserError, match=message) as caught:
        get_pictures(str(source), data_sha256, target)
    assert "\n" not in str(caught.value)
    assert read(target) == {"old/old.jpg": b"old"}
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.fixture
def target(tmp_path):
    return tmp_path / "data" / "raw"


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("top", ["", "top/", "a/b/"])
def test_every_source_gives_the_same_folder(tmp_path, target, name, top):
    files = {top + path: content for path, content in (FILES | STRAY).items()}
    source = WRITERS[name](tmp_path / name, files)
    write_folder(target, {"old.jpg": b""})
    write_folder(target.with_name(".partial-raw.top"), {"left by a killed run": b""})
    get_pictures(str(source), None, target)
    assert read(target) == FILES
    assert list(target.parent.iterdir()) == [target]


def test_splits_and_nested_folders_stay(tmp_path, target):
    files = {f"{split}/{path}": b"" for split in ("train", "validation") for path in FILES}
    files |= {"train/cats/indoors/3.jpg": b""}
    source = write_zip(tmp_path / "a.zip", files)
    get_pictures(str(source), None, target)
    assert set(read(target)) == set(files)


def test_a_tar_of_the_current_folder(tmp_path, target):
    write_folder(tmp_path / "in", FILES)
    subprocess.run(["tar", "-C", tmp_path / "in", "-cf", tmp_path / "a.tar", "."], check=True)
    get_pictures(str(tmp_path / "a.tar"), None, target)
    assert read(target) == FILES


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
@pytest.mark.parametrize(
    "unsafe", ["../x.jpg", "cats/../../x.jpg", "/x.jpg", "..\\x.jpg", "C:\\x.jpg", "c:x.jpg"]
)
def test_names_that_lead_out_are_refused(tmp_path, target, name, unsafe):
    source = WRITERS[name](tmp_path / name, FILES | {unsafe: b"x"})
    refuse(source, "the archive is unsafe: .* leads out of its folder", target)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_left_out(tmp_path, target, kind):
    source = write_tar(tmp_path / "a.tar", FILES)
    with tarfile.open(source, "a") as archive:
        link = tarfile.TarInfo("cats/link.jpg")
        link.type, link.linkname = kind, "/etc/passwd"
        archive.addfile(link)
    get_pictures(str(source), None, target)
    assert read(target) == FILES


def test_symlinks_in_a_zip_are_left_out(tmp_path, target):
    source = write_zip(tmp_path / "a.zip", FILES)
    with zipfile.ZipFile(source, "a") as archive:
        link = zipfile.ZipInfo("cats/link.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    get_pictures(str(source), None, target)
    assert read(target) == FILES


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_a_name_that_occurs_twice_is_refused(tmp_path, target, name):
    source = WRITERS[name](tmp_path / name, FILES | {"./cats/1.jpg": b"other"})
    refuse(source, "'./cats/1.jpg' occurs twice in the archive", target)


def test_a_bomb_is_refused(tmp_path, target, monkeypatch):
    files = FILES | {"cats/big.jpg": bytes(1 << 20)}
    source = write_zip(tmp_path / "a.zip", files, zipfile.ZIP_DEFLATED)
    get_pictures(str(source), None, target)
    monkeypatch.setattr(sources, "MIN_EXPANSION_BYTES", 1000)
    refuse(source, r"unpacks to over [\d,]+ bytes, 100 times its size", tmp_path / "new" / "raw")


def encrypted(archive):
    first, central = archive.index(b"PK\x03\x04"), archive.index(b"PK\x01\x02")
    changed = bytearray(archive)
    changed[first + 6] |= 1  # the flag, in the file's own header and in the directory
    changed[central + 8] |= 1
    return bytes(changed)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (encrypted, "damaged or encrypted: .*password required"),
        (lambda b: b[:-40], "a whole zip or tar archive; received a.zip"),
        (lambda b: b.replace(b"two", b"2wo"), "damaged or encrypted: Bad CRC-32"),
        (lambda b: b"just a text", "a whole zip or tar archive; received a.zip"),
        (lambda b: b"", "a whole zip or tar archive; received a.zip"),
    ],
)
def test_damaged_zips_are_refused(tmp_path, target, damage, message):
    source = write_zip(tmp_path / "a.zip", FILES)
    source.write_bytes(damage(source.read_bytes()))
    refuse(source, message, target)


# A header and a picture of 500 bytes take 512 bytes of a tar each.
@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[: 1024 * 20],  # between two pictures
        lambda b: b[: 1024 * 20 + 100],  # in a header
        lambda b: b[: 1024 * 20 + 600],  # in a picture
        lambda b: b[: 1024 * 20] + b"x" + b[1024 * 20 + 1 :],  # a header's checksum is wrong
    ],
)
def test_damaged_tars_are_refused(tmp_path, target, compress, damage):
    pictures = {f"{label}/{i}.jpg": bytes([i]) * 500 for label in "ab" for i in range(50)}
    whole = write_tar(tmp_path / "whole.tar", pictures).read_bytes()
    (tmp_path / "a").write_bytes(compress(damage(whole)))
    refuse(tmp_path / "a", "a is damaged or encrypted: ", target)


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("cut", [True, False])
def test_damaged_compression_is_refused(tmp_path, target, mode, cut):
    noise = np.random.default_rng(0)
    pictures = {f"{label}/{i}.jpg": noise.bytes(4000) for label in "ab" for i in range(250)}
    source = write_tar(tmp_path / "a", pictures, mode)
    whole = source.read_bytes()
    i = len(whole) * 3 // 5  # bzip2 checks blocks of 900 kB, and the first one before any work
    source.write_bytes(whole[:i] + (b"" if cut else bytes([whole[i] ^ 1]) + whole[i + 1 :]))
    refuse(source, "a is damaged or encrypted: ", target)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no disk that is always full")
def test_a_full_disk_is_not_called_a_damaged_archive(tmp_path):
    source = write_zip(tmp_path / "a.zip", FILES)
    with (
        open("/dev/full", "wb", buffering=0) as full,
        pytest.raises(OSError) as caught,
        sources._members(source),
    ):
        full.write(b"x")
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "a folder a class, such as .* received 0 pictures and 0 such folders"),
        ({"readme.txt": b""}, "received 0 pictures and 0 such folders"),
        ({"1.jpg": b"", "2.jpg": b""}, "received 2 pictures and 0 such folders"),
        ({"cats/1.jpg": b"", "cats/2.jpg": b""}, "received 2 pictures and 0 such folders"),
        ({"cats/1.jpg": b"", "dogs/notes.txt": b""}, "the folder dogs holds no picture"),
    ],
)
def test_a_folder_without_classes_is_refused(tmp_path, target, files, message):
    (tmp_path / "source").mkdir()
    refuse(write_folder(tmp_path / "source", files), message, target)


def test_an_empty_class_folder_of_an_archive_is_refused(tmp_path, target):
    refuse(write_zip(tmp_path / "a.zip", FILES | {"birds/": b""}), "folder birds holds no", target)


def test_stray_pictures_beside_the_classes_do_not_count_as_a_class(tmp_path):
    write_folder(tmp_path / "in", FILES | {"cover.jpg": b""})
    assert class_root(tmp_path / "in") == tmp_path / "in"


def test_the_content_hash_is_what_the_shell_prints(tmp_path):
    write_folder(tmp_path / "in", FILES | {"Birds/é.jpg": b"4", "cats-old/1.jpg": b"5"})
    command = "find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    printed = subprocess.run(
        command, shell=True, cwd=tmp_path / "in", check=True, capture_output=True, text=True
    ).stdout
    assert content_sha256(tmp_path / "in") == printed.split()[0]


def test_the_content_hash_is_insisted_on(tmp_path, target):
    source = write_zip(tmp_path / "a.zip", {f"top/{name}": FILES[name] for name in FILES})
    right = content_sha256(write_folder(tmp_path / "in", FILES))
    message = rf"a\.zip holds other .* \(3 files\): expected .* 0{{64}}, received {right}; "
    refuse(source, message, target, data_sha256="0" * 64)
    get_pictures(str(source), right, target)
    assert read(target) == FILES


@pytest.mark.parametrize("value", ["sample", "https://host/a.zip"])
def test_sources_that_need_no_file_pass(value):
    sources.check_source(value)


def test_a_path_where_nothing_is_is_refused_before_any_work(tmp_path):
    sources.check_source(str(tmp_path))
    with pytest.raises(UserError, match="^data_url: expected `sample`, .*received '.*nowhere'"):
        sources.check_source(str(tmp_path / "nowhere"))
