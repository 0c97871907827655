"""Archives and folders with unusual names and files: the images, or one line of error."""

import io
import os
import stat
import sys
import tarfile
import zipfile

import pytest

from tests.helpers.archives import (
    FILES,
    JPEG,
    WRITERS,
    member,
    read,
    refuse,
    write_folder,
    write_headers,
    write_tar,
    write_zip,
)
from transfer.data.labels import ARCHIVES as ARCHIVES_INSIDE
from transfer.data.labels import NOT_IMAGES
from transfer.download import archives, links
from transfer.download.acquire import acquire_images

pytestmark = pytest.mark.usefixtures("home")
TARS = [name for name in WRITERS if "tar" in name]
ARCHIVES = [*TARS, "a.zip"]


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
@pytest.mark.parametrize(
    "unsafe", ["../x.jpg", "cats/../../x.jpg", "/x.jpg", "..\\x.jpg", "C:\\x.jpg", "c:/x.jpg"]
)
def test_names_that_lead_out_are_refused(tmp_path, target, name, unsafe):
    source = WRITERS[name](tmp_path / name, FILES | {unsafe: b"x"})
    refuse(source, "the archive is unsafe: .* leads out of it", target)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_that_lead_out_and_devices_in_a_tar_are_named(tmp_path, target, kind):
    source = write_tar(tmp_path / "a.tar", FILES)
    with tarfile.open(source, "a") as archive:
        archive.addfile(member("cats/link.jpg", kind, linkname="/etc/passwd"))
    left_out, _ = acquire_images(str(source), None, target)
    assert read(target) == FILES
    reason = "a device or a pipe" if kind == tarfile.FIFOTYPE else links.OUT
    assert left_out.rejected == [("cats/link.jpg", reason, NOT_IMAGES)]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_links_in_a_tar_are_followed_inside_of_it(tmp_path, target, mode):
    write_tar(tmp_path / "a.tar", {".cache/1": JPEG + b"1", ".cache/2": JPEG + b"2"}, mode)
    contents = FILES | {f".cache/{i}": JPEG + b"%d" % i for i in (1, 2)}
    with tarfile.open(tmp_path / "a.tar", mode) as archive:
        archive.addfile(member("cats/early.jpg", tarfile.SYMTYPE, linkname="../.cache/2"))
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, kind, linkname in (
            ("cats/hard", tarfile.LNKTYPE, ".cache/1"),
            ("dogs/soft", tarfile.SYMTYPE, "../cats/./hard"),
            ("birds", tarfile.SYMTYPE, "./.cache"),
            ("cats/gone.jpg", tarfile.SYMTYPE, "nowhere.jpg"),
            ("cats/up", tarfile.SYMTYPE, ".."),
            ("dogs/out", tarfile.SYMTYPE, "../../dogs"),
            ("dogs/a", tarfile.SYMTYPE, "b"),
            ("dogs/b", tarfile.SYMTYPE, "a"),
        ):
            archive.addfile(member(name, kind, linkname=linkname))
    left_out, _ = acquire_images(str(tmp_path / "a.tar"), None, target)
    one, two = JPEG + b"1", JPEG + b"2"
    assert read(target) == FILES | {
        **{"cats/early.jpg": two, "cats/hard": one, "dogs/soft": one},
        **{"birds/1": one, "birds/2": two},
    }
    reasons = {path: reason for path, reason, _ in left_out.rejected}
    assert reasons == {
        **{"cats/gone.jpg": links.NOTHING, "cats/up": links.CIRCLE, "dogs/out": links.OUT},
        **{"dogs/a": links.CIRCLE, "dogs/b": links.CIRCLE},
    }
    assert left_out.hidden == {".cache"}


def test_symlinks_in_a_zip_are_followed_inside_of_it(tmp_path, target):
    source = write_zip(tmp_path / "a.zip", FILES)
    with zipfile.ZipFile(source, "a") as archive:
        for name, content in (
            *(("cats/out.jpg", "/etc/passwd"), ("dogs/2.jpg", "../cats/1.jpg"), ("birds", "dogs")),
        ):
            link = zipfile.ZipInfo(name)
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, content)
    left_out, _ = acquire_images(str(source), None, target)
    more = {"dogs/2.jpg": b"one", "birds/1.jpg": b"three", "birds/2.jpg": b"one"}
    assert read(target) == FILES | more
    assert left_out.rejected == [("cats/out.jpg", links.OUT, NOT_IMAGES)]


def test_links_that_multiply_are_a_bomb(tmp_path, target, monkeypatch):
    monkeypatch.setattr(archives, "MIN_EXPANSION_BYTES", 1 << 20)
    monkeypatch.setattr(archives, "MAX_EXPANSION", 1)
    source = write_tar(tmp_path / "a.tar", FILES | {f"0/{i}.txt": b"" for i in range(4)})
    with tarfile.open(source, "a") as archive:
        for depth in range(1, 6):
            for i in range(4):
                name = f"{depth}/{i}"
                archive.addfile(member(name, tarfile.SYMTYPE, linkname=f"../{depth - 1}"))
    refuse(source, "unpacks to over 1,048,576 bytes", target)


def test_two_tars_in_one_file_are_refused(tmp_path, target):
    one = write_tar(tmp_path / "1", FILES).read_bytes()
    two = write_tar(tmp_path / "2", {"dogs/2.jpg": b"four"}).read_bytes()
    (tmp_path / "a.tar").write_bytes(one + two)
    refuse(tmp_path / "a.tar", "a.tar goes on after the end of a tar, .* --ignore-zeros", target)


@pytest.mark.parametrize("name", ["folder", *ARCHIVES])
def test_images_are_known_by_their_content_and_all_others_named(tmp_path, target, name):
    images = {"cats/x.jpg?w=640": JPEG, "dogs/noext": JPEG, "dogs/big.jpg.1": JPEG + bytes(9000)}
    inner = write_zip(tmp_path / "inner.zip", FILES).read_bytes()
    others = {"cats/a.txt": b"text", "more.zip": inner, "dogs/1.heic": b"\0\0\0\x18ftypheic"}
    source = WRITERS[name](tmp_path / name, FILES | images | others)
    left_out, _ = acquire_images(str(source), None, target)
    assert read(target) == FILES | images
    kinds = {path: kind for path, _, kind in left_out.rejected}
    assert kinds == dict.fromkeys(others, NOT_IMAGES) | {"more.zip": ARCHIVES_INSIDE}


@pytest.mark.parametrize(
    ("start", "form"),
    [(b"7z\xbc\xaf'\x1c", "7z"), (b"Rar!\x1a\7\1\0", "RAR"), (b"(\xb5/\xfd", "Zstandard")],
)
def test_the_format_of_other_archives_is_named(tmp_path, target, start, form):
    (tmp_path / "a").write_bytes(start + bytes(100))
    refuse(tmp_path / "a", f"a is packed as {form}.*, which is not read; unpack it", target)


@pytest.mark.parametrize("name", ["folder", "a.zip", "a.tar"])
def test_a_colon_and_a_letter_are_no_drive(tmp_path, target, name):
    files = {"A: low/1.jpg": b"a", "B:high/1.jpg": b"b"}
    acquire_images(str(WRITERS[name](tmp_path / name, files)), None, target)
    assert read(target) == files


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
    refuse(source, "the name 'ca.* has control characters; rename it$", tmp_path / "new" / "raw")


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
    left_out, _ = acquire_images(str(source), None, target)
    assert read(target) == FILES | {"birds/3.jpg": b"bird"}
    assert sorted(row.path for row in left_out.rejected) == ["cats/self", "dogs/up", "stray"]
    assert left_out.hidden == {".hidden"}


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
