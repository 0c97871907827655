import numpy as np
import pytest

from transfer.data.dataset import Split, StoredArray
from transfer.serving import neighbours
from transfer.serving.neighbours import compute_neighbours, directions, spread_evenly

# Of all the splits; what is compared are the first two numbers of a pixel.
PIXELS = [[9, 9, 0], [0, 7, 1], [3, 4, 2], [9, 9, 3], [8, 6, 4], [0, 0, 5], [6, 8, 6]]


@pytest.fixture
def split(tmp_path, monkeypatch):
    """Return five of the seven pictures, in two batches and a half."""
    monkeypatch.setattr(neighbours, "BATCH", 2)
    np.save(tmp_path / "images.npy", np.array(PIXELS, np.uint8)[:, None, None])
    return Split(
        images=StoredArray(tmp_path / "images.npy"),
        rows=np.array([1, 2, 4, 5, 6]),
        labels=np.array([0, 1, 1, 0, 1]),
        paths=list("abcde"),
        class_names=["cats", "dogs"],
    )


def extract(pixels):
    return pixels[:, 0, 0, :2].astype(np.float32)


@pytest.mark.parametrize(
    ("total", "most", "places"),
    [(0, 3, []), (2, 3, [0, 1]), (3, 3, [0, 1, 2]), (10, 4, [0, 2, 5, 7])],
)
def test_places_are_spread_evenly(total, most, places):
    assert spread_evenly(total, most).tolist() == places


def test_directions_have_length_one_but_for_zeros():
    scaled = directions(np.array([[3, 4], [0, 0]], np.float32))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [[0.6, 0.8], [0, 0]])


def test_the_nearest_point_the_same_way_however_long_they_are(split):
    pixels, labels, cosines = compute_neighbours(extract, split, 9).nearest(np.float32([0, 5]), 4)
    assert pixels[:, 0, 0].tolist() == [PIXELS[row] for row in (1, 2, 6, 4)]
    assert labels == ["cats", "dogs", "dogs", "dogs"]
    np.testing.assert_allclose(cosines, [1, 0.8, 0.8, 0.6], rtol=1e-6)


def test_those_compared_are_spread_over_the_split(split):
    found = compute_neighbours(extract, split, 2)
    assert found.places.tolist() == [0, 2]
    pixels, labels, _ = found.nearest(np.float32([5, 0]), 9)
    assert pixels[:, 0, 0].tolist() == [PIXELS[4], PIXELS[1]]
    assert labels == ["dogs", "cats"]


def test_what_has_no_features_is_like_nothing(split):
    _, _, cosines = compute_neighbours(extract, split, 9).nearest(np.zeros(2, np.float32), 3)
    assert cosines.tolist() == [0, 0, 0]
