import json

import pytest

from transfer.files import list_files, read_csv, replacing, sha256, write_csv, write_json


def test_replacing_renames_on_success(tmp_path):
    target = tmp_path / "folder" / "a.txt"
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".txt"
        assert not target.exists()
    assert [file.name for file in target.parent.iterdir()] == ["a.txt"]


def test_replacing_keeps_the_old_file_where_the_block_fails(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_replacing_replaces_a_folder_whole(tmp_path):
    target = tmp_path / "folder"
    for name in ("old", "new"):
        with replacing(target) as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert list_files(tmp_path) == ["folder/new"]


def test_write_json_rounds_floats_only(tmp_path):
    write_json(tmp_path / "a.json", {"a": 0.123456789, "b": 3, "c": "x"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 0.12346, "b": 3, "c": "x"}


def test_csv_keeps_what_names_may_hold(tmp_path):
    rows = [("a, b", '"quoted"'), ("two\r\nlines", "Kätzchen 猫")]
    write_csv(tmp_path / "a.csv", ("path", "label"), rows)
    assert [tuple(row.values()) for row in read_csv(tmp_path / "a.csv")] == rows


def test_list_files_is_sorted_by_bytes(tmp_path):
    for name in ("b/1", "B/1", "a.10", "a.9", "ä"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_files(tmp_path) == ["B/1", "a.10", "a.9", "b/1", "ä"]


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a").startswith("ba7816bf8f01cfea")


def test_replacing_starts_anew_where_a_killed_run_left_its_half(tmp_path):
    (tmp_path / ".partial-raw").mkdir()
    (tmp_path / ".partial-raw" / "left").touch()
    with replacing(tmp_path / "raw") as temporary:
        temporary.mkdir()
    assert list_files(tmp_path) == []


def test_replacing_a_link_keeps_the_folder_that_it_names(tmp_path):
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "kept").touch()
    (tmp_path / "raw").symlink_to(tmp_path / "big")
    with replacing(tmp_path / "raw") as temporary:
        temporary.mkdir()
        (temporary / "new").touch()
    assert list_files(tmp_path) == ["big/kept", "raw/new"]
