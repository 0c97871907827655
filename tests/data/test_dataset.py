import numpy as np
import pytest

from tests.helpers.models import store
from transfer.core.files import write_csv
from transfer.data.dataset import (
    CORRECTED,
    CORRECTED_COLUMNS,
    IMAGES,
    MANIFEST,
    MANIFEST_COLUMNS,
    evenly_spaced,
    given_labels,
    load_split,
)
from transfer.data.shards import StoredImages


def test_load_split_opens_its_own_rows(tmp_path):
    images = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)
    labels_and_splits = [("dogs", "train"), ("cats", "val"), ("cats", "train"), ("owls", "test")]
    hashes = [f"{i}7" * 32 for i in (3, 1, 0, 2)]
    store(tmp_path / IMAGES, images, hashes)
    rows = [(f"{i}.jpg", *p, hashes[i], 2, 2) for i, p in enumerate(labels_and_splits)]
    write_csv(tmp_path / MANIFEST, MANIFEST_COLUMNS, rows)

    train = load_split(tmp_path, "train")
    assert isinstance(train.images, StoredImages)
    assert train.class_names == ["cats", "dogs", "owls"]
    assert (train.rows.tolist(), train.labels.tolist()) == ([0, 2], [1, 0])
    assert train.paths == ["0.jpg", "2.jpg"]
    np.testing.assert_array_equal(train.images[train.rows], images[[0, 2]])
    assert load_split(tmp_path, "test").labels.tolist() == [2]


def test_given_labels_are_those_before_corrections(tmp_path):
    hashes = [f"{i}" * 64 for i in range(3)]
    store(tmp_path / IMAGES, np.zeros((3, 2, 2, 3), np.uint8), hashes)
    labels = ("cats", "dogs", "dogs")
    rows = [(f"{i}.jpg", label, "test", hashes[i], 2, 2) for i, label in enumerate(labels)]
    write_csv(tmp_path / MANIFEST, MANIFEST_COLUMNS, rows)
    changes = [
        ("1.jpg", "test", "cats", "dogs"),
        ("2.jpg", "train", "cats", "dogs"),  # of another split
        ("8.jpg", "test", "cats", "exclude"),
        ("9.jpg", "val", "cats", "exclude"),
    ]
    write_csv(tmp_path / CORRECTED, CORRECTED_COLUMNS, changes)
    test = load_split(tmp_path, "test")
    given, excluded = given_labels(tmp_path, "test", test)
    assert (given.tolist(), excluded) == ([0, 0, 1], 1)
    assert test.labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("total", "max_count", "indices"),
    [(0, 3, []), (2, 3, [0, 1]), (3, 3, [0, 1, 2]), (10, 4, [0, 2, 5, 7])],
)
def test_indices_are_evenly_spaced(total, max_count, indices):
    assert evenly_spaced(total, max_count).tolist() == indices
