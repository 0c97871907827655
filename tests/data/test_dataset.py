import numpy as np
import pytest

from transfer.core.errors import UserError
from transfer.core.files import write_csv
from transfer.data.dataset import IMAGES, MANIFEST, MANIFEST_COLUMNS, StoredArray, load_split


def test_load_split_opens_its_own_rows(tmp_path):
    images = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)
    np.save(tmp_path / IMAGES, images)
    labels_and_splits = [("dogs", "train"), ("cats", "val"), ("cats", "train"), ("owls", "test")]
    rows = [(f"{i}.jpg", *pair, "hash", 2, 2) for i, pair in enumerate(labels_and_splits)]
    write_csv(tmp_path / MANIFEST, MANIFEST_COLUMNS, rows)

    train = load_split(tmp_path, "train")
    assert isinstance(train.images, StoredArray)
    assert train.class_names == ["cats", "dogs", "owls"]
    assert (train.rows.tolist(), train.labels.tolist()) == ([0, 2], [1, 0])
    assert train.paths == ["0.jpg", "2.jpg"]
    np.testing.assert_array_equal(train.images[train.rows], images[[0, 2]])
    assert load_split(tmp_path, "test").labels.tolist() == [2]


def test_stored_rows_come_in_the_order_asked_for_and_must_be_whole(tmp_path):
    path, values = tmp_path / "a.npy", np.arange(24, dtype=np.float16).reshape(4, 2, 3)
    np.save(path, values)
    stored = StoredArray(path)
    assert (len(stored), stored.shape, stored.dtype) == (4, (4, 2, 3), np.float16)
    np.testing.assert_array_equal(stored[np.array([3, 0, 3])], values[[3, 0, 3]])
    path.write_bytes(path.read_bytes()[:-1])
    np.testing.assert_array_equal(stored[np.array([2])], values[[2]])
    with pytest.raises(UserError, match=r"a\.npy is damaged: it ends in row 3"):
        stored[np.array([3])]
