"""Archives that are damaged or malicious: one line says so, and nothing is lost."""

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile

import numpy as np
import pytest

from tests.helpers.archives import (
    FILES,
    WRITERS,
    member,
    read,
    refuse,
    write_headers,
    write_tar,
    write_zip,
)
from transfer.download import archives
from transfer.download.acquire import acquire_images

pytestmark = pytest.mark.usefixtures("home")


def test_a_bomb_is_refused(tmp_path, target, monkeypatch):
    files = FILES | {"cats/big.jpg": bytes(1 << 20)}
    source = write_zip(tmp_path / "a.zip", files, zipfile.ZIP_DEFLATED)
    acquire_images(str(source), None, target)
    monkeypatch.setattr(archives, "MIN_EXPANSION_BYTES", 1000)
    refuse(source, r"unpacks to over [\d,]+ bytes, 100 times its size", tmp_path / "new" / "raw")


def encrypted(archive):
    first, central = archive.index(b"PK\x03\x04"), archive.index(b"PK\x01\x02")
    changed = bytearray(archive)
    changed[first + 6] |= 1  # the flag, in the file's own header and in the directory
    changed[central + 8] |= 1
    return bytes(changed)


def swallow(archive):
    """Let the first entry of the directory contain the second one as its comment."""
    first = archive.index(b"PK\x01\x02")
    size = archive.index(b"PK\x01\x02", first + 1) - first  # also of the second: as long a name
    return archive[: first + 32] + bytes([size]) + archive[first + 33 :]  # the length of a comment


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (swallow, "damaged or encrypted: 2 of 3 files are listed"),
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


# A header and an image of 500 bytes take 512 bytes of a tar each.
@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[: 1024 * 20],  # between two images
        lambda b: b[: 1024 * 20 + 100],  # in a header
        lambda b: b[: 1024 * 20 + 600],  # in an image
        lambda b: b[: 1024 * 20] + b"x" + b[1024 * 20 + 1 :],  # a header's checksum is wrong
    ],
)
def test_damaged_tars_are_refused(tmp_path, target, compress, damage):
    images = {f"{label}/{i}.jpg": bytes([i]) * 500 for label in "ab" for i in range(50)}
    whole = write_tar(tmp_path / "whole.tar", images).read_bytes()
    (tmp_path / "a").write_bytes(compress(damage(whole)))
    refuse(tmp_path / "a", "a is damaged or encrypted: ", target)


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("cut", [True, False])
def test_damaged_compression_is_refused(tmp_path, target, mode, cut):
    noise = np.random.default_rng(0)
    images = {f"{label}/{i}.jpg": noise.bytes(4000) for label in "ab" for i in range(250)}
    source = write_tar(tmp_path / "a", images, mode)
    whole = source.read_bytes()
    i = len(whole) * 3 // 5  # bzip2 checks blocks of 900 kB, and the first one before any work
    source.write_bytes(whole[:i] + (b"" if cut else bytes([whole[i] ^ 1]) + whole[i + 1 :]))
    refuse(source, "a is damaged or encrypted: ", target)


@pytest.mark.parametrize("name", ["a.zip", "a.tar.bz2"])
def test_a_bomb_of_empty_files_is_refused(tmp_path, target, monkeypatch, name):
    monkeypatch.setattr(archives, "MIN_EXPANSION_BYTES", 1 << 20)
    files = FILES | {f"cats/{i}.png": b"" for i in range(400)}
    source = WRITERS[name](tmp_path / name, files)
    monkeypatch.setattr(archives, "MAX_EXPANSION", 1)
    refuse(source, "unpacks to over 1,048,576 bytes", target)


@pytest.mark.parametrize("where", ["a stray file", "the end"])
def test_a_bomb_outside_the_images_is_refused(tmp_path, target, monkeypatch, where):
    stray = {"stray.bin": bytes(3 << 20)} if where == "a stray file" else {}
    content = write_tar(tmp_path / "a.tar", FILES | stray).read_bytes() + bytes(3 << 20)
    (tmp_path / "a.tar.bz2").write_bytes(bz2.compress(content))
    acquire_images(str(tmp_path / "a.tar.bz2"), None, tmp_path / "right")
    monkeypatch.setattr(archives, "MIN_EXPANSION_BYTES", 1 << 20)
    refuse(tmp_path / "a.tar.bz2", "unpacks to over 1,048,576 bytes", target)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, target):
    source = write_headers(tmp_path / "a.tar", member("stray.bin", size=1 << 40))
    refuse(source, r"unpacks to over 1,073,741,824 bytes", target)


def test_a_bomb_in_a_header_is_refused(tmp_path, target):
    bomb = member("x", tarfile.GNUTYPE_LONGNAME, size=1 << 21)
    source = write_headers(tmp_path / "a.tar", bomb)
    refuse(source, "damaged or encrypted: a header of 2,097,152 bytes", target)


@pytest.mark.parametrize("cut", [slice(0, 5), slice(0, 0), slice(0, 512)])
def test_what_is_not_an_archive_is_described(tmp_path, target, cut):
    (tmp_path / "a").write_bytes((b"<html>" * 99)[cut])
    kind = "an empty file" if cut.stop == 0 else "a web page, such as one to log in on"
    refuse(tmp_path / "a", f"expected a whole zip or tar archive; received a, {kind}$", target)


def test_a_stray_file_with_a_password_does_not_matter(tmp_path, target):
    source = write_zip(tmp_path / "a.zip", {"notes.txt": b"secret"} | FILES)
    source.write_bytes(encrypted(source.read_bytes()))
    acquire_images(str(source), None, target)
    assert read(target) == FILES


@pytest.mark.parametrize("name", ["cats/2.PNG", "cats/1.jpg"])
def test_a_damaged_directory_hides_no_image(tmp_path, target, name):
    source = write_zip(tmp_path / "a.zip", FILES)
    whole = source.read_bytes()
    at = whole.rindex(name.encode()) + len(name) - 1
    source.write_bytes(whole[:at] + b"x" + whole[at + 1 :])
    refuse(source, "damaged or encrypted: File name in directory", target)


def test_an_image_is_not_taken_for_a_link(tmp_path, target):
    source = write_zip(tmp_path / "a.zip", FILES)
    with zipfile.ZipFile(source, "a") as archive:
        link = zipfile.ZipInfo("cats/link.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, bytes(5000))
    refuse(source, "damaged or encrypted: 'cats/link.jpg' is marked as a link, but is none", target)
