"""Several GPUs and several processes that share each batch, through tf.distribute.

Each process holds the model and the optimizer as if it were alone. The replicas, one per GPU, each
take a shard of the batch. The sum of their gradients is the same to the bit in every process, which
applies it, so the models stay equal. Keras' own support for tf.distribute in `fit` is not used: in
3.15 it fails with several processes (keras#20585).
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from transfer.core.console import quiet
from transfer.core.errors import UserError
from transfer.core.processes import STRATEGY, Launch, process_number, set_tf_config
from transfer.core.runtime import tf
from transfer.data.batches import Batches

# What TensorFlow raises when another process has ended.
LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)


@dataclass(frozen=True)
class Replicas:
    """The devices that share each batch; every process has the same number of them.

    strategy: TensorFlow's, which adds up what the replicas compute.
    worker: The number of this process, from 0.
    workers: How many processes there are.
    """

    strategy: tf.distribute.Strategy
    worker: int = 0
    workers: int = 1

    def __len__(self) -> int:
        return self.strategy.num_replicas_in_sync

    @property
    def is_chief(self) -> bool:
        """Return whether this process is the one that writes files."""
        return self.worker == 0

    def shard(self, image_count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return this process' shard of a batch, the rows of one replica after the other.

        Every replica gets the same number of rows, so that none is empty. Where the images don't
        divide evenly, the last rows repeat images, with weight 0.

        Args:
            image_count: Images in the whole batch.

        Returns:
            Indices into the batch, int [B], and the weight of each in the mean over the batch,
            float32 [B].
        """
        rows = np.arange(-(-image_count // len(self)) * len(self)).reshape(self.workers, -1)
        own = rows[self.worker]
        return own % image_count, (own < image_count) / np.float32(image_count)

    def batches(self, *arguments: object, **options: object) -> "SharedBatches":
        """Return batches of this process' shards; takes what `Batches` takes."""
        return SharedBatches(self, *arguments, **options)

    def sum(self, function: Callable[..., tf.Tensor], *tensors: object) -> tf.Tensor:
        """Return the sum over all replicas of what a function returns for a replica's rows.

        Args:
            function: Returns a tensor of the same shape in every replica.
            tensors: Structures of tensors, the rows of all replicas of this process.
        """
        local = len(self) // self.workers

        def on_replica() -> tf.Tensor:
            index = tf.distribute.get_replica_context().replica_id_in_sync_group % local

            def part(rows: tf.Tensor) -> tf.Tensor:
                size = tf.shape(rows)[0] // local
                return rows[index * size : (index + 1) * size]

            return function(*tf.nest.map_structure(part, tensors))

        with self.strategy.scope():
            results = self.strategy.run(on_replica)
            return self.strategy.reduce(tf.distribute.ReduceOp.SUM, results, axis=None)

    def broadcast(self, content: bytes) -> bytes:
        """Return the chief's bytes in every process.

        Args:
            content: Those of this process; the chief's are sent to all others.
        """
        if self.workers == 1:
            return content
        (size,) = self._of_chief(np.array([len(content)]))
        if size == 0:  # TensorFlow crashes on a sum over no numbers
            return b""
        whole = -(-size // 8) * 8
        padded = content.ljust(whole, b"\0")[:whole]
        return self._of_chief(np.frombuffer(padded, np.int64)).tobytes()[:size]

    def _of_chief(self, numbers: np.ndarray) -> np.ndarray:
        """Return the chief's numbers, int64 [N]: a sum to which the others add zeros."""

        @tf.function(autograph=False)
        def add(own: tf.Tensor) -> tf.Tensor:
            def on_replica() -> tf.Tensor:
                first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
                return own * tf.cast(first, tf.int64)

            with self.strategy.scope():
                results = self.strategy.run(on_replica)
                return self.strategy.reduce(tf.distribute.ReduceOp.SUM, results, axis=None)

        return add(tf.constant(numbers, tf.int64)).numpy()


def build_replicas(launch: Launch) -> Replicas | None:
    """Return the replicas that the environment asks for, or None for a single device.

    One of several processes must call this before TensorFlow does anything else, and waits here for
    the other ones.

    Args:
        launch: Its `strategy` decides.

    Raises:
        UserError: The strategy is not possible here.
    """
    name, (worker, workers) = launch.strategy, process_number()
    if name == "auto":
        name = "multi_worker" if workers > 1 else "mirrored" if len(_devices()) > 1 else "one"
    if name == "multi_worker":
        set_tf_config()
        if worker == 0:
            print(f"{workers} processes share each batch", flush=True)
        with quiet(), _interruptible():
            return Replicas(tf.distribute.MultiWorkerMirroredStrategy(), worker, workers)
    if workers > 1:
        raise UserError(
            f"{STRATEGY}: expected auto or multi_worker, since TF_CONFIG or srun names {workers} "
            f"processes; received {name}, which is for one process"
        )
    if name == "mirrored":
        if len(_devices()) == 1:
            raise UserError(f"{STRATEGY}: mirrored needs several GPUs; found one device; try auto")
        return Replicas(tf.distribute.MirroredStrategy(_devices()))
    return None


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end this process while C++ code waits, during which Python handles no signals."""
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _devices() -> list[str]:
    """Return the names of the GPUs; without GPUs, of the CPU's logical devices (CPU_REPLICAS)."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in devices]


class SharedBatches(Batches):
    """This process' shards of batches; the weights are those in the mean over the whole batch."""

    def __init__(self, replicas: Replicas, *arguments: object, **options: object) -> None:
        self.replicas = replicas
        super().__init__(*arguments, **options)

    def indices(self, index: int) -> np.ndarray:
        """Return the indices of the images in this process' shard of a batch, int [B]."""
        whole = super().indices(index)
        return whole[self.replicas.shard(len(whole))[0]]

    def __getitem__(self, index: int) -> tuple:
        x, y, *weights = super().__getitem__(index)
        weight = self.replicas.shard(len(super().indices(index)))[1]
        return x, y, weight * weights[0] if weights else weight
