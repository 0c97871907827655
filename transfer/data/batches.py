"""Batches of a split for Keras: what the model takes, and what it should say."""

import os
import shutil
import weakref
from tempfile import TemporaryFile
from threading import Lock

import numpy as np

from transfer.core.parallel import CORES
from transfer.core.runtime import keras
from transfer.data.dataset import Reader

KEPT_BYTES = 2**34  # at most, and half of what is free on the disk
WORKERS = min(max(CORES, 2), 8)  # each computes a batch


class Batches(keras.utils.PyDataset):
    """Batches of so many pictures of a source, an array or a tuple of them, and of their targets.

    With a seed each epoch has its own order, a function of seed and epoch. There are `views` views
    of each picture, and epoch e shows view (e - 1) mod views + 1; with 0 it shows view e. With
    `keep`, batches stay on the disk for the next epoch, up to KEPT_BYTES.

    `error` is what went wrong in a worker, which Keras passes on inside other words.
    """

    def __init__(
        self,
        source: Reader,
        targets: Reader,
        pictures: int,
        batch_size: int,
        seed: int | None = None,
        views: int = 0,
        keep: bool = False,
    ):
        # With one worker Keras leaves prefetching to tf.data, whose autotuning thread often holds
        # up the end of an epoch until it wakes: 20.6 s instead of 11 s (TensorFlow 2.21).
        super().__init__(workers=WORKERS, max_queue_size=WORKERS + 2)
        self.source, self.targets = source, targets
        self.pictures, self.batch_size = pictures, batch_size
        self.seed, self.views = seed, views
        self.error: Exception | None = None
        self.kept = KeptArrays(KEPT_BYTES) if keep else None
        self.start(epoch=1)

    def __len__(self) -> int:
        return -(-self.pictures // self.batch_size)

    def __getitem__(self, index: int) -> tuple:
        places = self.places(index)
        try:
            arrays = self.kept.get(index) if self.kept else None
            if arrays is None:
                arrays = self.source(places, self.view)
                if self.kept:
                    self.kept.put(index, arrays)
        except Exception as error:
            self.error = error
            raise
        return arrays if len(arrays) > 1 else arrays[0], *self.targets(places, self.view)

    def places(self, index: int) -> np.ndarray:
        """Return the places of a batch's pictures, int [B]."""
        return self.order[index * self.batch_size : (index + 1) * self.batch_size]

    def start(self, epoch: int) -> None:
        """Begin an epoch. Keras calls on_epoch_end before the first one, too, so it can't count."""
        self.view = (epoch - 1) % self.views + 1 if self.views else epoch
        self.order = np.arange(self.pictures)
        if self.seed is not None:
            np.random.default_rng([self.seed, epoch]).shuffle(self.order)


class KeptArrays:
    """Tuples of arrays by number, in a file without a name in the working folder.

    The system removes it however the process ends. Not in memory, for they grow with the pictures;
    where the memory has room, the system keeps the file's pages there by itself.
    """

    def __init__(self, most_bytes: int):
        with TemporaryFile(dir=".") as file:  # /tmp may be memory
            self.file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self.file)
        self.free = min(most_bytes, shutil.disk_usage(".").free // 2)
        self.end, self.lock, self.places = 0, Lock(), {}

    def put(self, number: int, arrays: tuple[np.ndarray, ...]) -> None:
        """Keep the arrays, if there is room for them."""
        size = sum(array.nbytes for array in arrays)
        with self.lock:
            if size > self.free:
                return
            start, self.end, self.free = self.end, self.end + size, self.free - size
        place = start
        try:
            for array in map(np.ascontiguousarray, arrays):
                if os.pwrite(self.file, array, place) != array.nbytes:
                    return
                place += array.nbytes
        except OSError:  # others have filled the disk
            return
        self.places[number] = start, [(array.shape, array.dtype) for array in arrays]

    def get(self, number: int) -> tuple[np.ndarray, ...] | None:
        """Return the arrays, in new memory; None where they were not kept."""
        if number not in self.places:
            return None
        place, kinds = self.places[number]
        arrays = tuple(np.empty(shape, dtype) for shape, dtype in kinds)
        for array in arrays:
            if os.preadv(self.file, [array], place) != array.nbytes:
                return None
            place += array.nbytes
        return arrays
