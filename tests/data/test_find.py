import os
import re

import pytest
from PIL import Image

from tests.faults.corpus import pictures
from tests.helpers.archives import JPEG, write_folder
from transfer.data.find import archive_format, find_images, is_hidden, is_image
from transfer.data.formats import FORMATS
from transfer.data.labels import ARCHIVES, NOT_IMAGES


@pytest.mark.parametrize("form", FORMATS)
def test_the_first_bytes_tell_every_format(tmp_path, form):
    Image.new("RGB", (9, 9)).save(tmp_path / "x", form)
    assert is_image("x", (tmp_path / "x").read_bytes()[:32])


@pytest.mark.parametrize("name", pictures())
def test_all_pictures_are_found_without_their_suffixes(name):
    assert is_image("x", pictures()[name][:32])


@pytest.mark.parametrize(
    "name",
    [
        *("a.jfif", "a.JPE", "a.pjpeg", "a", "a.jpg?w=640", "a.jpg.1", "a.jpg ", "a.HEIC"),
        *("a.avif", "a.txt", "猫"),
    ],
)
def test_the_name_of_a_jpeg_does_not_matter(tmp_path, name):
    write_folder(tmp_path, {name: JPEG})
    images, left_out = find_images(tmp_path)
    assert images == [name]
    assert not left_out.rejected


@pytest.mark.parametrize(
    ("name", "start", "reason"),
    [
        ("a.txt", b"BMI and height", "not BMP, .*: it begins with b'BMI and height'"),
        ("a.heic", b"\0\0\0\x18ftypheic", "not BMP"),
        ("IMG_1.CR2", b"II*\0\x10\0\0\0CR", "not BMP"),
        ("a.dng", b"MM\0*", "not BMP"),
        ("empty", b"", "an empty file"),
        ("more.zip", b"PK\3\4", r"an archive \(zip\), which is not unpacked"),
        ("a.bin", b"Rar!\x1a\7\1\0", r"an archive \(RAR\)"),
        ("a.tgz", b"damaged", r"an archive \(tgz\)"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, name, start, reason):
    write_folder(tmp_path, {name: start, "a.jpg": b"broken"})
    images, left_out = find_images(tmp_path)
    assert images == ["a.jpg"]
    (rejected,) = left_out.rejected
    kind = ARCHIVES if "archive" in reason else NOT_IMAGES
    assert (rejected.path, rejected.kind) == (name, kind)
    assert re.match(reason, rejected.reason)


def test_archives_are_known_by_their_first_bytes():
    assert archive_format("x", b"\x28\xb5\x2f\xfd") == "Zstandard (.zst)"
    assert archive_format("x.jpg", JPEG) is None


def test_hidden_files_and_those_of_systems_are_counted_apart(tmp_path):
    names = [
        *("Thumbs.db", "a/desktop.ini", "a/.DS_Store", "__MACOSX/a/._1.jpg", "__MACOSX/a/._2.jpg"),
        *("a/._1.jpg", "a/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg", ".git/a", ".git/b"),
    ]
    write_folder(tmp_path, dict.fromkeys(names, JPEG) | {"a/1.jpg": JPEG})
    images, left_out = find_images(tmp_path)
    assert images == ["a/1.jpg"]
    assert not left_out.rejected
    assert left_out.hidden == {
        *("Thumbs.db", "a/desktop.ini", "a/.DS_Store", "__MACOSX", "a/._1.jpg", "a/@eaDir", ".git"),
    }
    assert not is_hidden(tmp_path / "a" / "x@eaDir")


def test_links_are_followed_but_not_in_a_circle(tmp_path):
    write_folder(tmp_path, {"store/1": JPEG})
    (tmp_path / "more").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "up").symlink_to("..")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    images, left_out = find_images(tmp_path)
    assert images == ["more/1", "store/1"]
    reasons = {path: reason for path, reason, _ in left_out.rejected}
    assert set(reasons) == {"more/up", "store/up", "gone.jpg", "pipe"}
    assert reasons["store/up"] == "a link that leads in a circle"
    assert "a broken link or a pipe" in reasons["pipe"]


@pytest.mark.skipif(not os.getuid(), reason="root may read every file")
def test_a_file_that_may_not_be_read_is_named(tmp_path):
    write_folder(tmp_path, {"a": JPEG})
    (tmp_path / "a").chmod(0)
    images, left_out = find_images(tmp_path)
    assert (images, [row.reason for row in left_out.rejected]) == ([], ["Permission denied"])
