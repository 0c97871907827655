import errno
import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from stages import split
from tests.helpers.project import PROJECT
from transfer.core.errors import UserError
from transfer.core.files import list_files, sha256
from transfer.data import raw, shards
from transfer.data.raw import RawImages, pack, sha256_of
from transfer.download.acquire import acquire_images, content_sha256
from transfer.download.sample import draw_sample


def write(folder, number, seed=0):
    """Write files of two classes, one of them empty, with names of every kind."""
    rng = np.random.default_rng(seed)
    names = ["cats/é 猫.jpg", "cats-old/a.jpg", "dogs/deep/er/1.jpg", "dogs/empty.jpg", "stray.jpg"]
    for i, name in enumerate(names + [f"dogs/{i}.jpg" for i in range(number - len(names))]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"" if "empty" in name else rng.bytes(50 + i))
    return folder


def contents(folder):
    return {name: (folder / name).read_bytes() for name in list_files(folder)}


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "IMAGES", 4)


@pytest.fixture
def packed(tmp_path):
    """Return the contents of eleven files, and the folder with their shards."""
    before = contents(write(tmp_path / "in", 11))
    pack(tmp_path / "in", tmp_path / "raw")
    return before, tmp_path / "raw"


def test_packed_images_equal_the_files(packed):
    before, folder = packed
    assert 3 <= len(list_files(folder)) <= 8
    assert all(re.fullmatch("[01]+.zip", name) for name in list_files(folder))
    images = RawImages(folder)
    assert images.names == list(before)
    for name, content in before.items():
        with images.image_file(name)() as file:
            assert file.read() == content
        assert sha256_of(images.image_file(name)) == hashlib.sha256(content).digest()
    assert list_files(folder.with_name("in")) == []


def test_shards_are_plain_zips(packed):
    before, folder = packed
    found = {}
    for shard in folder.iterdir():
        with zipfile.ZipFile(shard) as archive:
            assert archive.testzip() is None
            found |= {name: archive.read(name) for name in archive.namelist()}
            assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    assert found == before


def test_equal_images_give_equal_shards(packed, tmp_path):
    _, folder = packed
    again = write(tmp_path / "again", 11)
    for name in list_files(again):
        os.utime(again / name, (1e9, 1e9))
        (again / name).chmod(0o600)
    pack(again, tmp_path / "raw2")
    assert contents(tmp_path / "raw2") == contents(folder)


def test_an_image_more_changes_one_shard(packed, tmp_path):
    _, folder = packed
    more = write(tmp_path / "more", 11)
    (more / "cats/one more.jpg").write_bytes(b"one more")
    pack(more, tmp_path / "raw2")
    before, after = (set(contents(path).items()) for path in (folder, tmp_path / "raw2"))
    changed = after - before
    assert len(before - after) == 1  # which may have been cut in two
    names = {
        name
        for shard, _ in changed
        for name in zipfile.ZipFile(tmp_path / "raw2" / shard).namelist()
    }
    assert "cats/one more.jpg" in names and len(names) <= 5


def test_folders_are_read_as_they_are(tmp_path):
    folder = write(tmp_path / "raw", 6)
    (folder / "x.zip").mkdir()  # a class may have this name
    (folder / "x.zip" / "1.jpg").write_bytes(b"1")
    images = RawImages(folder)
    assert images.names == list_files(folder)
    assert images.image_file("x.zip/1.jpg") == folder / "x.zip/1.jpg"


@pytest.mark.parametrize("top", ["", "top/"])
def test_many_images_are_packed_and_their_hash_is_the_same(tmp_path, monkeypatch, top):
    folder = write(tmp_path / "source" / top, 11)
    (folder / "stray.jpg").rename(folder / "dogs" / "last.jpg")
    right = content_sha256(folder)
    (tmp_path / ".partial-raw.top").mkdir()  # left by a killed run
    for many, suffix in ((11, ".jpg"), (10, ".zip")):
        monkeypatch.setattr(raw, "MANY", many)
        acquire_images(str(tmp_path / "source"), right, tmp_path / "raw")
        assert {Path(name).suffix for name in list_files(tmp_path / "raw")} == {suffix}
        assert content_sha256(tmp_path / "raw") == right
    assert sorted(os.listdir(tmp_path)) == ["raw", "source"]
    with pytest.raises(UserError, match=r"has other images than it should \(11 files\)"):
        acquire_images(str(tmp_path / "source"), "0" * 64, tmp_path / "raw")


def test_a_full_disk_leaves_the_old_images_and_nothing_else(tmp_path, monkeypatch):
    write(tmp_path / "source", 11)
    before = contents(write(tmp_path / "raw", 7, seed=1))
    monkeypatch.setattr(raw, "MANY", 9)

    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(raw.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        acquire_images(str(tmp_path / "source"), None, tmp_path / "raw")
    assert contents(tmp_path / "raw") == before
    assert sorted(os.listdir(tmp_path)) == ["raw", "source"]


def test_the_split_of_packed_images_is_the_same(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text(
        (PROJECT / "params.yaml").read_text().replace("image_size: 160 ", "image_size: 32 ")
    )
    monkeypatch.chdir(tmp_path)
    draw_sample(Path("in"), 15)
    Path("in/cats/broken.jpg").write_bytes(b"no image")
    shutil.copyfile("in/cats/cat.0000.jpg", "in/cats/copy.jpg")
    shutil.copyfile("in/cats/cat.0001.jpg", "in/dogs/cat.jpg")
    hashes = []
    for many in (100, 1):
        monkeypatch.setattr(raw, "MANY", many)
        acquire_images("in", None, Path("data/raw"))
        split.main()
        hashes.append(
            {name: sha256(Path("data/split", name)) for name in list_files(Path("data/split"))}
        )
        shutil.rmtree("data/split")  # so that nothing is known
    assert hashes[0] == hashes[1]
    assert len([name for name in hashes[0] if "/" not in name]) == 5
    assert list(Path("data/raw").glob("*.zip"))


def damage(path, offset, bits=0xFF):
    content = bytearray(path.read_bytes())
    content[offset] ^= bits
    path.write_bytes(content)


def refused(folder):
    """Return the message about a damaged shard, which is one line."""
    with pytest.raises(UserError) as error:
        content_sha256(folder)
    message = str(error.value)
    # Damage to a name shows where the next shard begins.
    assert re.match(f"{folder}/[01]+.zip is damaged: ", message)
    assert message.endswith("; `dvc repro --force download` makes it again")
    assert "\n" not in message
    return message


def test_any_damage_to_a_shard_is_reported_in_one_line_or_changes_nothing(packed):
    _, folder = packed
    shard, right = sorted(folder.iterdir())[1], content_sha256(folder)
    whole = shard.read_bytes()
    with zipfile.ZipFile(shard) as archive:
        first = archive.infolist()[0]
    damage(shard, 30 + len(first.filename.encode()))
    assert f"'{first.filename}' is not what was packed" in refused(folder)
    harmless = 0
    for offset in range(0, len(whole), 5):
        shard.write_bytes(whole)
        damage(shard, offset)
        try:
            assert content_sha256(folder) == right, offset
            harmless += 1
        except UserError:
            refused(folder)
    assert 0 < harmless < len(whole) / 5 / 2  # in dates and the like
    for end in (0, 10, len(whole) // 2, len(whole) - 1):
        shard.write_bytes(whole[:end])
        refused(folder)


def test_a_damaged_shard_stops_the_stage_with_one_line(packed):
    _, folder = packed
    (folder.parent / "data").mkdir()
    folder = folder.rename(folder.parent / "data" / "raw")
    shard = sorted(folder.iterdir())[1].name
    damage(folder / shard, 45)
    shutil.copy(PROJECT / "params.yaml", folder.parent.parent)
    done = subprocess.run(
        [sys.executable, "-m", "stages.split"],
        cwd=folder.parent.parent,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: data/raw/{shard} is damaged: ")
    assert not (folder.parent / "split").exists()


def test_an_image_over_2_gib_has_a_longer_header(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "raw").mkdir()
    with zipfile.ZipFile(tmp_path / "raw" / "00000.zip", "w") as archive:
        with archive.open("cats/1.jpg", "w", force_zip64=True) as file:
            file.write(b"one")
        archive.writestr("dogs/1.jpg", b"two")
    (extra,) = struct.unpack("<H", (tmp_path / "raw/00000.zip").read_bytes()[28:30])
    assert extra > 0
    images = RawImages(tmp_path / "raw")
    assert [images.image_file(name)().read() for name in images.names] == [b"one", b"two"]
