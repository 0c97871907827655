import errno

import numpy as np

from transfer.data import batches
from transfer.data.batches import Batches, KeptArrays

LABELS = np.arange(10) * 7


def labels_of(indices, view):
    return (LABELS[indices],)


class Counted:
    """A reader of an array that encodes index and epoch, and counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, indices, epoch):
        self.calls += 1
        return (indices * 100 + epoch,)


def read(dataset, epoch=1):
    """Return the features and the labels of an epoch."""
    dataset.start(epoch)
    parts = zip(*(dataset[i] for i in range(len(dataset))), strict=True)
    return [np.concatenate(part) for part in parts]


def test_every_epoch_has_each_image_once_in_an_order_of_its_own():
    dataset = Batches(Counted(), labels_of, 10, 4, seed=7)
    assert [len(dataset[i][0]) for i in range(len(dataset))] == [4, 4, 2]
    orders = []
    for epoch in (1, 2):
        features, labels = read(dataset, epoch)
        orders.append((features // 100).tolist())
        np.testing.assert_array_equal(features % 100, epoch)
        np.testing.assert_array_equal(labels, LABELS[orders[-1]])
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))
    assert orders[0] != orders[1]
    other = Batches(Counted(), labels_of, 10, 4, seed=7)
    other.start(2)
    assert other.order.tolist() == orders[1]
    assert Batches(Counted(), labels_of, 10, 4, seed=8).order.tolist() != orders[0]


def test_without_a_seed_the_order_is_the_order_of_the_split():
    dataset = Batches(Counted(), labels_of, 10, 4)
    for epoch in (3, 4):
        np.testing.assert_array_equal(read(dataset, epoch)[0], np.arange(10) * 100 + epoch)


def test_views_take_turns():
    dataset = Batches(Counted(), lambda indices, view: (indices + view,), 10, 4, views=3)
    for epoch, view in ((1, 1), (3, 3), (4, 1), (11, 2)):
        features, targets = read(dataset, epoch)
        np.testing.assert_array_equal(features % 100, view)
        np.testing.assert_array_equal(targets, np.arange(10) + view)


def test_targets_may_have_weights_or_be_missing():
    weighted = Batches(Counted(), lambda indices, view: (indices, indices * 2), 10, 4)
    assert [array.tolist() for array in weighted[2]] == [[801, 901], [8, 9], [16, 18]]
    (features,) = Batches(Counted(), lambda indices, view: (), 10, 4)[2]
    assert features.tolist() == [801, 901]


def test_several_arrays_are_a_tuple():
    dataset = Batches(lambda indices, epoch: (indices, -indices), labels_of, 10, 4)
    (first, second), labels = dataset[2]
    assert (first.tolist(), second.tolist()) == ([8, 9], [-8, -9])
    assert labels.tolist() == [56, 63]


def test_kept_batches_are_computed_once():
    for keep, calls in ((True, 3), (False, 9)):
        reader = Counted()
        dataset = Batches(reader, labels_of, 10, 4, keep=keep)
        seen = [read(dataset, epoch) for epoch in (1, 2, 3)]
        assert reader.calls == calls
        for _, labels in seen:
            np.testing.assert_array_equal(labels, LABELS)


def test_batches_are_kept_up_to_a_number_of_bytes(monkeypatch):
    monkeypatch.setattr(batches, "KEPT_BYTES", 2 * 4 * 8 + 8)  # of 4, 4 and 2 numbers of 8 bytes
    reader = Counted()
    dataset = Batches(reader, labels_of, 10, 4, keep=True)
    first, second = read(dataset), read(dataset)
    assert sorted(dataset.kept.entries) == [0, 1]
    assert reader.calls == 4
    np.testing.assert_array_equal(first[0] // 100, second[0] // 100)


def test_kept_arrays_are_bit_identical_and_leave_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    kept = KeptArrays(10**6)
    given = {
        number: (rng.random((4, 3, 2), np.float32).transpose(2, 0, 1), rng.integers(9, size=number))
        for number in (0, 3, 1)
    }
    for number, arrays in given.items():
        kept.put(number, arrays)
    for number, arrays in given.items():
        for array, again in zip(arrays, kept.get(number), strict=True):
            assert again.dtype == array.dtype
            np.testing.assert_array_equal(again, array)
    assert kept.get(2) is None
    assert list(tmp_path.iterdir()) == []


def test_batches_without_room_on_the_disk_are_computed_again(monkeypatch):
    reader = Counted()
    dataset = Batches(reader, labels_of, 10, 4, keep=True)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(batches.os, "pwrite", full)
    first, second = read(dataset), read(dataset)
    assert reader.calls == 6
    np.testing.assert_array_equal(first[0], second[0])
