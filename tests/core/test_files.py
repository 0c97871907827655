import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from transfer.core.errors import UserError
from transfer.core.files import (
    describe_content,
    is_plain,
    list_files,
    read_csv,
    refuse_output,
    replacing,
    sha256,
    write_csv,
    write_json,
)


def test_replacing_renames_on_success(tmp_path):
    target = tmp_path / "folder" / "a.txt"
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".txt"
        assert not target.exists()
    assert [file.name for file in target.parent.iterdir()] == ["a.txt"]


def test_replacing_keeps_the_old_file_if_the_block_fails(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_replacing_replaces_a_whole_folder(tmp_path):
    target = tmp_path / "folder"
    for name in ("old", "new"):
        with replacing(target) as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert list_files(tmp_path) == ["folder/new"]


def test_write_json_rounds_floats_only(tmp_path):
    write_json(tmp_path / "a.json", {"a": 0.123456789, "b": 3, "c": "x"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 0.12346, "b": 3, "c": "x"}


def test_csv_keeps_any_characters_of_names(tmp_path):
    rows = [("a, b", '"quoted"'), ("two\r\nlines", "Kätzchen 猫")]
    write_csv(tmp_path / "a.csv", ("path", "label"), rows)
    assert [tuple(row.values()) for row in read_csv(tmp_path / "a.csv")] == rows


def test_list_files_is_sorted_by_bytes(tmp_path):
    for name in ("b/1", "B/1", "a.10", "a.9", "ä"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_files(tmp_path) == ["B/1", "a.10", "a.9", "b/1", "ä"]


def test_a_file_has_the_hash_of_its_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a").startswith("ba7816bf8f01cfea")


def test_replacing_removes_what_a_killed_run_left(tmp_path):
    (tmp_path / ".partial-raw").mkdir()
    (tmp_path / ".partial-raw" / "left").touch()
    with replacing(tmp_path / "raw") as temporary:
        temporary.mkdir()
    assert list_files(tmp_path) == []


def test_replacing_a_link_keeps_the_folder_that_it_points_to(tmp_path):
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "kept").touch()
    (tmp_path / "raw").symlink_to(tmp_path / "big")
    with replacing(tmp_path / "raw") as temporary:
        temporary.mkdir()
        (temporary / "new").touch()
    assert list_files(tmp_path) == ["big/kept", "raw/new"]


def test_a_full_disk_names_the_file_and_keeps_the_old_one(tmp_path):
    (tmp_path / "a.csv").write_text("old")
    # A limit on the size of a file stands in for a full disk.
    code = f"""
import resource
from pathlib import Path
from transfer.core import errors
from transfer.core import files
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
path = Path({str(tmp_path / "a.csv")!r})
errors.run_main(lambda: files.write_csv(path, ("a",), [["x" * 100]] * 100))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    line = f"error: File too large: {tmp_path / 'a.csv'}; make room and run it again\n"
    assert (done.returncode, done.stderr) == (1, line)
    assert (tmp_path / "a.csv").read_text() == "old"
    assert list_files(tmp_path) == ["a.csv"]


def test_errors_that_name_a_file_keep_the_name(tmp_path):
    for name, expected in (("b", "b"), (None, str(tmp_path / "a"))):
        with pytest.raises(OSError) as caught, replacing(tmp_path / "a"):
            raise OSError(errno.EIO, "Input/output error", name)
        assert caught.value.filename == expected


@pytest.mark.parametrize("name", ["Kätzchen 猫.jpg", "a\u00a0b", "a,b;'\"$"])
def test_names_in_any_language_are_plain(name):
    assert is_plain(name)


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "a\x1b", "a\x7f", "a\udce4"])
def test_control_characters_and_bytes_that_are_not_text_are_not_plain(name):
    assert not is_plain(name)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"<!DOCTYPE html>\n<title>Please log in</title>", "a web page, such as one to log in on"),
        (b"", "an empty file"),
        (b"\x1f\x8b\x08", r"a file that begins with b'\x1f\x8b\x08'"),
    ],
)
def test_unexpected_content_is_described(tmp_path, content, expected):
    (tmp_path / "a").write_bytes(content)
    assert describe_content(tmp_path / "a") == expected


@pytest.mark.parametrize("name", ["data/raw", "data/raw/cats", "data", ".", "models/model.keras"])
def test_an_output_or_what_holds_one_is_no_source(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match=f"data_url: expected a path outside .*; received {name}, and"
    ):
        refuse_output(Path(name), "data_url")
    for other in ("data/own", "../images", "models/other.h5"):
        refuse_output(Path(other), "data_url")
