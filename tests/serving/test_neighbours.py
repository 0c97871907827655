import numpy as np
import pytest

from tests.helpers.models import store
from transfer.data.dataset import Split
from transfer.models import inference
from transfer.serving.neighbours import build_index, normalize

# An image of one pixel each, of all splits; the first two numbers are the features.
PIXELS = [[9, 9, 0], [0, 7, 1], [3, 4, 2], [9, 9, 3], [8, 6, 4], [0, 0, 5], [6, 8, 6]]


@pytest.fixture
def split(tmp_path, monkeypatch):
    """Return five of the seven images, which make two and a half batches."""
    monkeypatch.setattr(inference, "BATCH_SIZE", 2)
    return Split(
        images=store(tmp_path / "images", np.array(PIXELS, np.uint8)[:, None, None]),
        rows=np.array([1, 2, 4, 5, 6]),
        labels=np.array([0, 1, 1, 0, 1]),
        paths=list("abcde"),
        class_names=["cats", "dogs"],
    )


def extract(pixels):
    return pixels[:, 0, 0, :2].astype(np.float32)


def test_normalized_features_have_length_one_except_zeros():
    scaled = normalize(np.array([[3, 4], [0, 0]], np.float32))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [[0.6, 0.8], [0, 0]])


def test_the_length_of_features_does_not_matter(split):
    pixels, labels, cosines = build_index(extract, split, 9).nearest(np.float32([0, 5]), 4)
    assert pixels[:, 0, 0].tolist() == [PIXELS[row] for row in (1, 2, 6, 4)]
    assert labels == ["cats", "dogs", "dogs", "dogs"]
    np.testing.assert_allclose(cosines, [1, 0.8, 0.8, 0.6], rtol=1e-6)


def test_images_to_search_are_evenly_spaced_over_the_split(split):
    found = build_index(extract, split, 2)
    assert found.indices.tolist() == [0, 2]
    pixels, labels, _ = found.nearest(np.float32([5, 0]), 9)
    assert pixels[:, 0, 0].tolist() == [PIXELS[4], PIXELS[1]]
    assert labels == ["dogs", "cats"]


def test_an_image_without_features_is_similar_to_none(split):
    _, _, cosines = build_index(extract, split, 9).nearest(np.zeros(2, np.float32), 3)
    assert cosines.tolist() == [0, 0, 0]
