"""Features are kept as they are read, and what was not read is computed."""

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.models import make_classifier, make_split
from transfer.data.dataset import plain_pixels
from transfer.training import convex
from transfer.training.features import features_of
from transfer.training.kept import KeptFeatures, blocks, unit


def test_what_a_reader_returned_is_kept_and_the_rest_computed(tmp_path):
    classifier, split = make_classifier(), make_split(12)
    val = replace(split, rows=split.rows[:4] + 1, labels=split.labels[:4])
    features = features_of(
        classifier, convex.plain_and_mirrored(split, "horizontal"), plain_pixels(val), "float32"
    )
    kept = KeptFeatures(tmp_path, len(split.images), 1280)
    reading, indices = kept.keeping(features, split, val), np.array([5, 2])
    for view in (2, 1):  # the mirrored images are not kept
        (same,), (read,) = (reader(indices, view) for reader in (reading.train, features.train))
        np.testing.assert_array_equal(same, read)
        assert kept.is_kept.sum() == (2 if view == 1 else 0)
    reading.val(np.array([3]), 1)
    assert np.flatnonzero(kept.is_kept).tolist() == sorted([*split.rows[indices], val.rows[3]])

    computed = []

    def extract(pixels):
        computed.append(len(pixels))
        return features.extract(pixels)

    kept.complete(split.images, extract)
    assert sum(computed) == len(split.images) - 3
    kept.complete(split.images, extract)  # nothing is missing
    assert sum(computed) == len(split.images) - 3
    rows = np.array([7, *split.rows[indices], 0])
    expected = unit(features.extract(split.images[rows])[0])
    np.testing.assert_allclose(kept[rows], expected, atol=1e-3)
    assert list(tmp_path.iterdir()) == []


def test_length_is_1_and_of_zeros_0():
    found = unit(np.array([[3, 4], [0, 0]], np.float32))
    assert found == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))


def test_blocks_hold_each_row_once():
    assert [block.tolist() for block in blocks(np.arange(5), 2)] == [[0, 1], [2, 3], [4]]
    assert blocks(np.arange(0)) == []
