import numpy as np

from transfer.dataset import IMAGES, MANIFEST, MANIFEST_COLUMNS, load_split
from transfer.files import write_csv


def test_load_split_opens_its_own_rows(tmp_path):
    images = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)
    np.save(tmp_path / IMAGES, images)
    labels_and_splits = [("dogs", "train"), ("cats", "val"), ("cats", "train"), ("owls", "test")]
    rows = [(f"{i}.jpg", *pair, "hash", 2, 2) for i, pair in enumerate(labels_and_splits)]
    write_csv(tmp_path / MANIFEST, MANIFEST_COLUMNS, rows)

    train = load_split(tmp_path, "train")
    assert isinstance(train.images, np.memmap)
    assert train.class_names == ["cats", "dogs", "owls"]
    assert (train.rows.tolist(), train.labels.tolist()) == ([0, 2], [1, 0])
    assert train.paths == ["0.jpg", "2.jpg"]
    np.testing.assert_array_equal(train.images[train.rows], images[[0, 2]])
    assert load_split(tmp_path, "test").labels.tolist() == [2]
