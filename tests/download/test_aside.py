import pytest

from tests.helpers.archives import read, write_folder
from transfer.core.files import remove
from transfer.download.aside import kept_if_changed


def fill(folder, files):
    with kept_if_changed(folder):
        remove(folder)
        write_folder(folder, files)


def test_what_others_put_into_the_folder_is_kept(tmp_path, capsys):
    raw = tmp_path / "raw"
    fill(raw, {"cats/1.jpg": b"one"})
    fill(raw, {"cats/2.jpg": b"two"})
    assert not list(tmp_path.glob("raw.kept-*"))
    for number, extra in enumerate(("mine.jpg", "cats/2.jpg"), 1):
        write_folder(raw, {extra: b"my own"})
        fill(raw, {"cats/2.jpg": b"two"})
        assert read(tmp_path / f"raw.kept-{number}")[extra] == b"my own"
        assert f"what it held is kept in {tmp_path}/raw.kept-{number}" in capsys.readouterr().out
        assert read(raw) == {"cats/2.jpg": b"two"}


def test_images_of_a_person_are_kept_where_the_stage_never_ran(tmp_path):
    write_folder(tmp_path / "raw", {"cats/mine.jpg": b"my own"})
    fill(tmp_path / "raw", {"cats/1.jpg": b"one"})
    assert read(tmp_path / "raw.kept-1") == {"cats/mine.jpg": b"my own"}


def test_a_failure_leaves_everything_where_it_was(tmp_path):
    raw = write_folder(tmp_path / "raw", {"cats/mine.jpg": b"my own"})
    with pytest.raises(KeyboardInterrupt), kept_if_changed(raw):
        raise KeyboardInterrupt
    assert read(tmp_path) == {"raw/cats/mine.jpg": b"my own"}
