import numpy as np
import pytest
from PIL import Image, ImageEnhance

from tests.helpers.models import store
from transfer.download.sample import draw_sample
from transfer.preprocessing import duplicates
from transfer.preprocessing.duplicates import near_duplicates, perceptual_hash, perceptual_hashes


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    draw_sample(folder, 10)
    return [Image.open(path) for path in sorted(folder.rglob("*.jpg"))]


def hash_of(image):
    return perceptual_hash(np.asarray(image.convert("RGB").resize((96, 96))))


def distance(a, b):
    return int(np.bitwise_count(a ^ b))


def test_the_same_image_in_other_bytes_is_near_and_others_are_not(drawn, tmp_path):
    hashes = [hash_of(image) for image in drawn]
    for image, own in zip(drawn, hashes, strict=True):
        image.save(tmp_path / "again.jpg", quality=40)
        with Image.open(tmp_path / "again.jpg") as again:
            assert distance(hash_of(again), own) <= 4
        assert distance(hash_of(image.resize((70, 70))), own) <= 4
        assert distance(hash_of(image.convert("L")), own) <= 4
        assert distance(hash_of(ImageEnhance.Brightness(image).enhance(0.9)), own) <= 4
    others = [distance(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(others) > 4


def test_all_the_hashes_are_those_of_each(tmp_path, monkeypatch):
    monkeypatch.setattr(duplicates, "AT_A_TIME", 2)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), np.uint8)
    hashes = perceptual_hashes(store(tmp_path / "images", pixels))
    assert hashes.dtype == np.uint64
    assert hashes.tolist() == [perceptual_hash(image) for image in pixels]
    assert len(set(hashes.tolist())) == 5


def test_pairs_are_those_of_comparing_each_with_each():
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 2**63, 40, np.uint64)
    flips = rng.integers(0, 7, 400)  # bits that differ from the centre: pairs are 0 to 12 apart
    hashes = np.array(
        [
            centres[i % 40] ^ np.bitwise_or.reduce(1 << rng.choice(64, n, False).astype(np.uint64))
            for i, n in enumerate(flips)
        ]
    )
    splits = rng.choice(["train", "val", "test"], 400)
    expected = [
        (a, b, distance(hashes[a], hashes[b]))
        for a in range(400)
        for b in range(a + 1, 400)
        if splits[a] != splits[b] and distance(hashes[a], hashes[b]) <= 4
    ]
    found = near_duplicates(hashes, splits)
    assert len(expected) > 100
    assert sorted(found) == expected
    assert [bits for _, _, bits in found] == sorted(bits for _, _, bits in found)


def test_blank_images_end_at_the_limit(monkeypatch):
    monkeypatch.setattr(duplicates, "MAX_PAIRS", 1000)
    pairs = near_duplicates(np.full(20_000, 7, np.uint64), ["train", "val"] * 10_000)
    assert len(pairs) == 1000
    assert pairs[0] == (0, 1, 0)
