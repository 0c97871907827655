"""Batches of a split for Keras: what the model takes, and labels."""

import numpy as np

from transfer.dataset import Source
from transfer.engine import keras
from transfer.parallel import CORES

KEPT_BYTES = 2**30
WORKERS = min(max(CORES, 2), 8)  # each computes a batch


class Batches(keras.utils.PyDataset):
    """Batches of a source, an array or a tuple of them, and of int labels [B].

    With a seed each epoch has its own order, a function of seed and epoch. With `keep`, batches
    stay in memory for the next epoch, up to KEPT_BYTES.

    `error` is what went wrong in a worker, which Keras passes on inside other words.
    """

    def __init__(
        self,
        source: Source,
        labels: np.ndarray,
        batch_size: int,
        seed: int | None = None,
        keep: bool = False,
    ):
        # With one worker Keras leaves prefetching to tf.data, whose autotuning thread often holds
        # up the end of an epoch until it wakes: 20.6 s instead of 11 s (TensorFlow 2.21).
        super().__init__(workers=WORKERS, max_queue_size=WORKERS + 2)
        self.source, self.labels, self.batch_size = source, labels, batch_size
        self.seed = seed
        self.error: Exception | None = None
        self.kept, self.free = {}, KEPT_BYTES if keep else 0
        self.start(epoch=1)

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __getitem__(self, index: int) -> tuple:
        if index in self.kept:
            return self.kept[index]
        places = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        try:
            arrays = self.source(places, self.epoch)
        except Exception as error:
            self.error = error
            raise
        batch = arrays if len(arrays) > 1 else arrays[0], self.labels[places]
        size = sum(array.nbytes for array in arrays)
        if size <= self.free:
            self.kept[index] = batch
            self.free -= size
        return batch

    def start(self, epoch: int) -> None:
        """Begin an epoch. Keras calls on_epoch_end before the first one, too, so it can't count."""
        self.epoch, self.order = epoch, np.arange(len(self.labels))
        if self.seed is not None:
            np.random.default_rng([self.seed, epoch]).shuffle(self.order)
