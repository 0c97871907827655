import hashlib

import numpy as np
import pytest

from tests.helpers.models import store
from transfer.core.errors import UserError
from transfer.data import shards
from transfer.data.shards import IMAGES, StoredImages, cut, keys_of


def hashes_of(numbers):
    return [hashlib.sha256(b"%d" % number).hexdigest() for number in numbers]


def contents(keys):
    return {(bits, *keys[indices].tolist()) for bits, indices in cut(keys)}


@pytest.mark.parametrize("count", [1, IMAGES, IMAGES + 1, 500])
def test_every_image_is_in_the_one_shard_whose_bits_its_hash_begins_with(count):
    keys = keys_of(hashes_of(range(count)))
    found = cut(keys)
    assert sorted(i for _, indices in found for i in indices.tolist()) == list(range(count))
    assert all(1 <= len(indices) <= IMAGES for _, indices in found)
    for bits, indices in found:
        assert all(f"{int(key):064b}".startswith(bits) for key in keys[indices])
        assert keys[indices].tolist() == sorted(keys[indices].tolist())
    assert [bits for bits, _ in found] == sorted(bits for bits, _ in found)
    if count <= IMAGES:
        assert [bits for bits, _ in found] == [""]


def test_an_image_more_changes_one_shard_whatever_the_order():
    keys = keys_of(hashes_of(range(400)))
    for new in range(400, 430):
        more = np.append(keys, keys_of(hashes_of([new])))
        before, after = contents(keys), contents(np.random.default_rng(new).permutation(more))
        assert len(before - after) <= 1
        changed = {key for shard in after - before for key in shard[1:]}
        assert int(more[-1]) in changed and len(changed) <= IMAGES + 1


def test_shards_hold_twice_as_many_when_a_large_set_has_doubled(monkeypatch):
    monkeypatch.setattr(shards, "OF", 64)
    for count, most in ((64, IMAGES), (65, 2 * IMAGES), (128, 2 * IMAGES), (129, 4 * IMAGES)):
        sizes = [len(indices) for _, indices in cut(keys_of(hashes_of(range(count))))]
        assert most / 2 < max(sizes) <= most


def test_equal_hashes_end():
    assert [len(indices) for _, indices in cut(np.zeros(50, np.uint64))] == [50]


def test_images_are_those_that_were_stored_in_any_order(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (300, 4, 4, 3), np.uint8)
    stored = store(tmp_path / "images", images)
    assert (stored.shape, stored.dtype, len(stored)) == (images.shape, np.uint8, 300)
    assert len(stored.names) > 300 / IMAGES
    rows = np.random.default_rng(1).permutation(300)
    np.testing.assert_array_equal(stored[rows], images[rows])


def test_the_digest_tells_pixels_and_order(tmp_path):
    images, hashes = np.zeros((20, 2, 2, 3), np.uint8), hashes_of(range(20))
    digest = store(tmp_path / "a", images).digest()
    assert store(tmp_path / "b", images).digest() == digest
    other = StoredImages(tmp_path / "a", keys_of(hashes[::-1]))
    assert other.digest() != digest
    images[7] += 1
    assert store(tmp_path / "c", images).digest() != digest


@pytest.mark.parametrize("how", ["missing", "short", "gone later", "short later", "none"])
def test_a_shard_that_is_missing_or_cut_off_is_named(tmp_path, how):
    images, folder = np.zeros((40, 2, 2, 3), np.uint8), tmp_path / "images"
    stored = store(folder, images)
    shard = folder / stored.names[stored.shard_of[5]]
    if how == "none":
        for path in folder.iterdir():
            path.unlink()
    elif how.startswith("short"):
        shard.write_bytes(shard.read_bytes()[:-1])
    else:
        shard.unlink()
    with pytest.raises(UserError, match="is damaged.*dvc repro makes it again"):
        if not how.endswith("later"):
            stored = StoredImages(folder, keys_of(hashes_of(range(40))))
        stored[np.array([5])]
