"""Batches of a split for Keras: the inputs of the model, their targets and weights."""

import os
import shutil
import weakref
from tempfile import TemporaryFile
from threading import Lock

import numpy as np

from transfer.core.parallel import CORES
from transfer.core.runtime import keras
from transfer.data.arrays import read_array
from transfer.data.dataset import Reader

KEPT_BYTES = 2**34  # at most, and at most half of what is free on the disk
WORKERS = min(max(CORES, 2), 8)  # threads, each of which computes a batch


class Batches(keras.utils.PyDataset):
    """Batches of what two readers return for the same images: inputs, and targets with weights.

    With a seed every epoch has its own order, which is a function of seed and epoch.

    error: The exception of a worker; Keras raises another one, which only quotes it.
    """

    def __init__(
        self,
        read: Reader,
        targets: Reader,
        image_count: int,
        batch_size: int,
        seed: int | None = None,
        views: int = 0,
        keep: bool = False,
    ) -> None:
        """Set up the first epoch.

        Args:
            read: Reads the inputs of the model: one array or several.
            targets: Reads the targets, and the weights if there are any; or nothing.
            image_count: Number of images in an epoch.
            batch_size: Number of images in a batch; the last batch may have fewer.
            seed: Of the order; None: the order of the split.
            views: Number of views of each image: epoch e takes view (e - 1) mod views + 1. With 0
                epoch e takes view e.
            keep: Keep the inputs on the disk for the next epoch, up to KEPT_BYTES.
        """
        # With one worker Keras leaves prefetching to tf.data, whose autotuning thread often holds
        # up the end of an epoch until it wakes: 20.6 s instead of 11 s (TensorFlow 2.21).
        super().__init__(workers=WORKERS, max_queue_size=WORKERS + 2)
        self.read, self.targets = read, targets
        self.image_count, self.batch_size = image_count, batch_size
        self.seed, self.views = seed, views
        self.error: Exception | None = None
        self.kept = KeptArrays(KEPT_BYTES) if keep else None
        self.start(epoch=1)

    def __len__(self) -> int:
        return -(-self.image_count // self.batch_size)

    def __getitem__(self, index: int) -> tuple:
        indices = self.indices(index)
        try:
            arrays = self.kept.get(index) if self.kept else None
            if arrays is None:
                arrays = self.read(indices, self.view)
                if self.kept:
                    self.kept.put(index, arrays)
        except Exception as error:
            self.error = error
            raise
        return arrays if len(arrays) > 1 else arrays[0], *self.targets(indices, self.view)

    def indices(self, index: int) -> np.ndarray:
        """Return the indices of the images in batch number `index`, int [B]."""
        return self.order[index * self.batch_size : (index + 1) * self.batch_size]

    def start(self, epoch: int) -> None:
        """Set the view and the order of an epoch, counted from 1.

        Counting calls of on_epoch_end would not do: Keras calls it before the first epoch, too.
        """
        self.view = (epoch - 1) % self.views + 1 if self.views else epoch
        self.order = np.arange(self.image_count)
        if self.seed is not None:
            np.random.default_rng([self.seed, epoch]).shuffle(self.order)


class KeptArrays:
    """Tuples of arrays by number, in a file without a name in the working directory.

    The system removes the file however the process ends. The arrays are not kept in memory, since
    they grow with the number of images; where memory is free, the system caches the file anyway.
    """

    def __init__(self, max_bytes: int) -> None:
        with TemporaryFile(dir=".") as file:  # not in /tmp, which may be in memory
            self.file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self.file)
        self.free = min(max_bytes, shutil.disk_usage(".").free // 2)
        self.end, self.lock, self.entries = 0, Lock(), {}

    def put(self, number: int, arrays: tuple[np.ndarray, ...]) -> None:
        """Keep the arrays if there is room for them."""
        size = sum(array.nbytes for array in arrays)
        with self.lock:
            if size > self.free:
                return
            start, self.end, self.free = self.end, self.end + size, self.free - size
        offset = start
        try:
            for array in map(np.ascontiguousarray, arrays):
                if os.pwrite(self.file, array, offset) != array.nbytes:
                    return
                offset += array.nbytes
        except OSError:  # another program has filled the disk
            return
        self.entries[number] = start, [(array.shape, array.dtype) for array in arrays]

    def get(self, number: int) -> tuple[np.ndarray, ...] | None:
        """Return the arrays in new memory, or None if they were not kept."""
        if number not in self.entries:
            return None
        offset, kinds = self.entries[number]
        arrays = tuple(np.empty(shape, dtype) for shape, dtype in kinds)
        for array in arrays:
            if not read_array(self.file, offset, array):
                return None
            offset += array.nbytes
        return arrays
