"""Archives and folders with unusual names and files: the images, or one line of error."""

import os
import stat
import sys
import tarfile
import zipfile

import pytest

from tests.helpers.archives import (
    FILES,
    WRITERS,
    member,
    read,
    refuse,
    write_folder,
    write_headers,
    write_tar,
    write_zip,
)
from transfer.download.acquire import acquire_images

pytestmark = pytest.mark.usefixtures("home")
TARS = [name for name in WRITERS if "tar" in name]
ARCHIVES = [*TARS, "a.zip"]


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
@pytest.mark.parametrize(
    "unsafe", ["../x.jpg", "cats/../../x.jpg", "/x.jpg", "..\\x.jpg", "C:\\x.jpg", "c:x.jpg"]
)
def test_names_that_lead_out_are_refused(tmp_path, target, name, unsafe):
    source = WRITERS[name](tmp_path / name, FILES | {unsafe: b"x"})
    refuse(source, "the archive is unsafe: .* leads out of it", target)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_left_out(tmp_path, target, kind):
    source = write_tar(tmp_path / "a.tar", FILES)
    with tarfile.open(source, "a") as archive:
        link = tarfile.TarInfo("cats/link.jpg")
        link.type, link.linkname = kind, "/etc/passwd"
        archive.addfile(link)
    acquire_images(str(source), None, target)
    assert read(target) == FILES


def test_symlinks_in_a_zip_are_left_out(tmp_path, target):
    source = write_zip(tmp_path / "a.zip", FILES)
    with zipfile.ZipFile(source, "a") as archive:
        link = zipfile.ZipInfo("cats/link.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    acquire_images(str(source), None, target)
    assert read(target) == FILES


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_a_name_that_occurs_twice_is_refused(tmp_path, target, name):
    source = WRITERS[name](tmp_path / name, FILES | {"./cats/1.jpg": b"other"})
    refuse(source, "'./cats/1.jpg' occurs twice in the archive", target)


@pytest.mark.parametrize("name", [*ARCHIVES, "folder"])
def test_names_that_differ_in_case_are_two_images(tmp_path, target, name):
    (tmp_path / "case").touch()
    if (tmp_path / "CASE").exists():
        pytest.skip("the disk ignores case")
    files = FILES | {"cats/1.JPG": b"other", "Cats/1.jpg": b"another"}
    acquire_images(str(WRITERS[name](tmp_path / name, files)), None, target)
    assert read(target) == files


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
@pytest.mark.parametrize(
    "odd", ["cats/a\nb.jpg", "cats/\x1b[2J.jpg", "ca\tts/1.jpg", "cats/\x7f.jpg"]
)
def test_control_characters_are_refused_except_in_other_files(tmp_path, target, name, odd):
    stray = {"Icon\r": b"", "cats/a\n.txt": b""}
    acquire_images(str(WRITERS[name](tmp_path / name, FILES | stray)), None, target)
    assert read(target) == FILES
    source = WRITERS[name](tmp_path / "odd", FILES | {odd: b"x"})
    refuse(source, "the name 'ca.* has control characters .* rename it$", tmp_path / "new" / "raw")


def test_a_null_character_in_a_tar_is_refused(tmp_path, target):
    odd = member("cats/x.jpg", pax_headers={"path": "cats/x\0.jpg"})
    source = write_headers(tmp_path / "a.tar", odd)
    refuse(source, r"the name 'cats/x\\x00\.jpg' has control characters", target)


@pytest.mark.parametrize("name", ["a.tar", "folder"])
def test_names_in_an_old_encoding_are_refused(tmp_path, target, name):
    if name == "folder" and sys.platform == "darwin":
        pytest.skip("the disk refuses such names itself")
    source = WRITERS[name](tmp_path / name, FILES | {os.fsdecode(b"cats/K\xe4tzchen.jpg"): b"x"})
    refuse(source, r"the name 'cats/K\\udce4tzchen\.jpg' .* not in UTF-8; rename it", target)


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
@pytest.mark.parametrize("long", ["cats/" + "x" * 300 + ".jpg", "cats/" + "x/" * 2500 + "1.jpg"])
def test_names_that_are_too_long_are_refused(tmp_path, target, name, long):
    source = WRITERS[name](tmp_path / name, FILES | {long: b"x"})
    refuse(source, r"the name 'cats/x+.*\.\.\..*jpg' is too long for this disk", target)


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
@pytest.mark.parametrize("clash", ["cats/1.jpg/2.jpg", "cats/1.jpg/a/2.jpg", "cats/1.jpg/"])
def test_a_file_that_is_a_folder_too_is_refused(tmp_path, target, name, clash):
    source = WRITERS[name](tmp_path / name, FILES | {clash: b""})
    if name == "a.tar" and clash.endswith("/"):  # tarfile's writer drops the slash
        write_headers(source, member(clash, tarfile.DIRTYPE))
    refuse(source, "'cats/1.jpg.*' occurs twice in the archive, or as a file and a folder", target)


@pytest.mark.parametrize("name", ["folder", *ARCHIVES])
def test_an_archive_that_holds_an_archive_is_refused(tmp_path, target, name):
    inner = write_zip(tmp_path / "inner.zip", FILES).read_bytes()
    source = WRITERS[name](tmp_path / name, {"readme.txt": b"r", "pets/inner.zip": inner})
    refuse(source, "no images, but an archive inside: 'pets/inner.zip'; unpack it", target)


def test_an_archive_beside_the_images_is_left_out(tmp_path, target):
    inner = write_zip(tmp_path / "inner.zip", {"a/1.jpg": b"a", "b/1.jpg": b"b"}).read_bytes()
    source = write_tar(tmp_path / "a.tar", FILES | {"inner.zip": inner})
    acquire_images(str(source), None, target)
    assert read(target) == FILES


def test_links_in_a_folder_are_followed_but_not_in_a_circle(tmp_path, target):
    source = write_folder(tmp_path / "in", {"dogs/1.jpg": b"three", "cats/1.jpg": b"one"})
    outside = write_folder(tmp_path / "outside", {"2.jpg": b"two", "birds/3.jpg": b"bird"})
    (source / "cats" / "2.PNG").symlink_to(outside / "2.jpg")
    (source / "birds").symlink_to(outside / "birds")
    (source / "cats" / "self").symlink_to(source / "cats")
    (source / "dogs" / "up").symlink_to("..")
    (source / "stray").symlink_to("/nowhere")
    (source / ".hidden").mkdir()
    (source / ".hidden" / "up").symlink_to("..")
    acquire_images(str(source), None, target)
    assert read(target) == FILES | {"birds/3.jpg": b"bird"}


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/nowhere")])
def test_a_broken_link_or_a_pipe_in_a_folder_is_named(tmp_path, target, make):
    source = write_folder(tmp_path / "in", FILES)
    make(source / "cats" / "odd.jpg")
    refuse(source, f"{source}/cats/odd.jpg is not a file but a broken link or a pipe", target)


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="no file that fails to be read")
def test_a_file_that_cannot_be_read_is_named(tmp_path, target):
    source = write_folder(tmp_path / "in", FILES)
    (source / "cats" / "bad.jpg").symlink_to("/proc/self/mem")  # the page at 0 is nobody's
    with pytest.raises(OSError) as caught:
        acquire_images(str(source), None, target)
    assert caught.value.filename == "cats/bad.jpg"
    assert not target.exists()
