"""Batches of a split for Keras: what the model takes, and what it should say."""

import numpy as np

from transfer.dataset import Source
from transfer.engine import keras
from transfer.parallel import CORES

KEPT_BYTES = 2**30
WORKERS = min(max(CORES, 2), 8)  # each computes a batch


class Batches(keras.utils.PyDataset):
    """Batches of so many pictures of a source, an array or a tuple of them, and of their targets.

    With a seed each epoch has its own order, a function of seed and epoch. There are `views` views
    of each picture, and epoch e shows view (e - 1) mod views + 1; with 0 it shows view e. With
    `keep`, batches stay in memory for the next epoch, up to KEPT_BYTES.

    `error` is what went wrong in a worker, which Keras passes on inside other words.
    """

    def __init__(
        self,
        source: Source,
        targets: Source,
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
        self.kept, self.free = {}, KEPT_BYTES if keep else 0
        self.start(epoch=1)

    def __len__(self) -> int:
        return -(-self.pictures // self.batch_size)

    def __getitem__(self, index: int) -> tuple:
        if index in self.kept:
            return self.kept[index]
        places = self.places(index)
        try:
            arrays = self.source(places, self.view)
        except Exception as error:
            self.error = error
            raise
        batch = arrays if len(arrays) > 1 else arrays[0], *self.targets(places, self.view)
        size = sum(array.nbytes for array in arrays)
        if size <= self.free:
            self.kept[index] = batch
            self.free -= size
        return batch

    def places(self, index: int) -> np.ndarray:
        """Return the places of a batch's pictures, int [B]."""
        return self.order[index * self.batch_size : (index + 1) * self.batch_size]

    def start(self, epoch: int) -> None:
        """Begin an epoch. Keras calls on_epoch_end before the first one, too, so it can't count."""
        self.view = (epoch - 1) % self.views + 1 if self.views else epoch
        self.order = np.arange(self.pictures)
        if self.seed is not None:
            np.random.default_rng([self.seed, epoch]).shuffle(self.order)
