"""What an earlier run has decoded is taken from there."""

import hashlib
import os

import numpy as np
import pytest

from transfer.core.files import list_files, write_csv, write_json
from transfer.data.dataset import IMAGES, MANIFEST, MANIFEST_COLUMNS
from transfer.data.shards import StoredImages, keys_of
from transfer.preprocessing.store import MADE_BY, EarlierRun, made_by, store_images

MADE = made_by(4, False)


def hash_of(path):
    return hashlib.sha256(path.encode()).hexdigest()


def paths_of(count, start=0):
    return [f"{number}.jpg" for number in range(start, start + count)]


def decode(path):
    """Return pixels that tell the path, or why there are none."""
    if path == "7.jpg":
        return None, "broken"
    return np.full((4, 4, 3), int(path.split(".")[0]) % 256, np.uint8), (30, int(path[:-4]) + 1)


@pytest.fixture
def run(tmp_path):
    """Return a function that does what the stage does, and returns what it had to decode."""

    def run(name, paths, before="none", made=MADE):
        folder, tried = tmp_path / name, []
        folder.mkdir()

        def decode_and_tell(path):
            tried.append(path)
            return decode(path)

        earlier = EarlierRun(tmp_path / before, made)
        hashes = [hash_of(path) for path in paths]
        result = store_images(folder / IMAGES, paths, hashes, decode_and_tell, earlier)
        sizes, reasons, known = result
        assert known == len(paths) - len(tried)
        used = [i for i in range(len(paths)) if i not in reasons]
        rows = [(paths[i], "a", "train", hashes[i], *sizes[i], "") for i in used]
        write_csv(folder / MANIFEST, MANIFEST_COLUMNS, rows)
        write_json(folder / MADE_BY, made)
        images = StoredImages(folder / IMAGES, keys_of([hashes[i] for i in used]))
        expected = np.stack([decode(paths[i])[0] for i in used])
        np.testing.assert_array_equal(images[np.arange(len(used))], expected)
        assert sizes[used].tolist() == [list(decode(paths[i])[1]) for i in used]
        assert reasons == {i: "broken" for i in range(len(paths)) if paths[i] == "7.jpg"}
        return sorted(tried, key=lambda path: int(path[:-4]))

    return run


def contents(folder):
    return {name: (folder / name).read_bytes() for name in list_files(folder)}


def test_only_what_is_new_is_decoded_and_the_files_are_those_of_a_first_run(run, tmp_path):
    paths, more = paths_of(200), paths_of(9, start=200)
    assert run("first", paths) == paths
    assert run("again", [*more, *paths], before="first") == ["7.jpg", *more]
    run("anew", [*more, *paths])
    assert contents(tmp_path / "again") == contents(tmp_path / "anew")
    first, again = ({*os.listdir(tmp_path / name / IMAGES)} for name in ("first", "again"))
    assert len(first - again) <= len(more)
    assert run("fewer", paths[20:], before="again") == []
    run("fewer anew", paths[20:])
    assert contents(tmp_path / "fewer") == contents(tmp_path / "fewer anew")


def test_another_size_or_code_decodes_all(run):
    paths = paths_of(30)
    run("first", paths)
    assert run("size", paths, before="first", made=made_by(8, False)) == paths
    assert run("code", paths, before="first", made=MADE | {"code": "another"}) == paths


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "manifest", "made by"])
def test_what_is_damaged_is_decoded_again(run, tmp_path, damage):
    paths, folder = paths_of(60), tmp_path / "first"
    run("first", paths)
    shard = sorted((folder / IMAGES).iterdir())[3]
    if damage == "changed":
        shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    elif damage == "cut":
        shard.write_bytes(shard.read_bytes()[:-1])
    elif damage == "gone":
        shard.unlink()
    else:
        (folder / (MANIFEST if damage == "manifest" else MADE_BY)).write_text("{}")
    tried = run("again", paths, before="first")
    assert 1 < len(tried) < 9 if damage in ("changed", "cut") else tried == paths
    run("anew", paths)
    assert contents(tmp_path / "again") == contents(tmp_path / "anew")


def test_a_file_system_without_hard_links_copies(run, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError

    run("first", paths_of(60))
    monkeypatch.setattr(os, "link", refuse)
    assert run("again", paths_of(60), before="first") == ["7.jpg"]
    assert contents(tmp_path / "again") == contents(tmp_path / "first")
