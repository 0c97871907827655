import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from transfer.core.errors import UserError
from transfer.data.arrays import StoredArray


def test_stored_rows_are_in_the_requested_order_and_must_be_whole(tmp_path):
    path, values = tmp_path / "a.npy", np.arange(24, dtype=np.float16).reshape(4, 2, 3)
    np.save(path, values)
    stored = StoredArray(path)
    assert (len(stored), stored.shape, stored.dtype) == (4, (4, 2, 3), np.float16)
    np.testing.assert_array_equal(stored[np.array([3, 0, 3])], values[[3, 0, 3]])
    path.write_bytes(path.read_bytes()[:-1])
    np.testing.assert_array_equal(stored[np.array([2])], values[[2]])
    with pytest.raises(UserError, match=r"a\.npy is damaged: it ends in row 3"):
        stored[np.array([3])]


@pytest.mark.parametrize("replaced", [False, True])
def test_an_open_array_stays_readable_if_its_file_is_removed_or_replaced(tmp_path, replaced):
    path, values = tmp_path / "a.npy", np.arange(24).reshape(4, 6)
    np.save(path, values)
    stored = StoredArray(path)
    path.unlink()
    if replaced:
        np.save(path, np.zeros((1, 1)))
    np.testing.assert_array_equal(stored[np.array([3, 1])], values[[3, 1]])


def test_threads_read_their_own_rows(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (500, 1000), np.uint8)
    np.save(tmp_path / "a.npy", values)
    stored = StoredArray(tmp_path / "a.npy")
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda row: stored[[row]][0], range(len(stored))))
    np.testing.assert_array_equal(rows, values)


def test_an_array_is_closed_when_nothing_refers_to_it(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))
    stored = StoredArray(tmp_path / "a.npy")
    file = stored.file
    assert os.fstat(file).st_size > 0
    del stored
    with pytest.raises(OSError):
        os.fstat(file)


@pytest.mark.parametrize("dtype", ["u1", "<f2", ">f8", "?", "c8", "<U3", "M8[s]", "S0"])
def test_rows_of_any_plain_dtype_are_read(tmp_path, dtype):
    values = np.zeros((3, 2), dtype)
    np.save(tmp_path / "a.npy", values)
    np.testing.assert_array_equal(StoredArray(tmp_path / "a.npy")[[2, 0]], values[[2, 0]])
