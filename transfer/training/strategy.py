"""Several GPUs and several processes that share out each batch, through tf.distribute.

Each process has the model and its optimizer as if it were alone. The replicas, one a GPU, take
their shares of a batch; the sum of their gradients is the same to the bit in every process, which
applies it, so that the models stay the same. What Keras' `fit` has for tf.distribute is not used:
in 3.15 it fails with several processes (keras#20585).
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from transfer.core.console import quiet
from transfer.core.errors import UserError
from transfer.core.params import Params
from transfer.core.processes import process_number, set_tf_config
from transfer.core.runtime import tf
from transfer.data.batches import Batches

# What TensorFlow raises where another process has ended.
LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)


@dataclass(frozen=True)
class Replicas:
    """The devices that share out each batch: as many in each of the `workers` processes, of which
    this is number `worker`."""

    strategy: tf.distribute.Strategy
    worker: int = 0
    workers: int = 1

    def __len__(self) -> int:
        return self.strategy.num_replicas_in_sync

    @property
    def is_chief(self) -> bool:
        """Tell whether this process writes what there is to write."""
        return self.worker == 0

    def share(self, pictures: int) -> tuple[np.ndarray, np.ndarray]:
        """Return this process' share of a batch, one replica's after the other.

        Every replica has as many rows, so that none is without; where the pictures don't divide,
        the last rows are pictures again, with no weight.

        Returns:
            Places in the batch, int [B], and what each counts in the mean over the batch, float32
            [B].
        """
        rows = np.arange(-(-pictures // len(self)) * len(self)).reshape(self.workers, -1)
        own = rows[self.worker]
        return own % pictures, (own < pictures) / np.float32(pictures)

    def batches(self, *arguments, **options) -> "SharedBatches":
        """Return transfer.data.batches.Batches that have this process' shares."""
        return SharedBatches(self, *arguments, **options)

    def sum(self, function: Callable[..., tf.Tensor], *tensors) -> tf.Tensor:
        """Return the sum over all replicas of what `function` makes of a replica's rows.

        Args:
            function: Returns a tensor of the same shape everywhere.
            tensors: Structures of tensors, the rows of this process' replicas.
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
        """Return the chief's `content` in every process."""
        if self.workers == 1:
            return content
        (size,) = self._of_chief(np.array([len(content)]))
        if size == 0:  # on a sum of no numbers TensorFlow crashes
            return b""
        whole = -(-size // 8) * 8
        padded = content.ljust(whole, b"\0")[:whole]
        return self._of_chief(np.frombuffer(padded, np.int64)).tobytes()[:size]

    def _of_chief(self, numbers: np.ndarray) -> np.ndarray:
        """Return the chief's int64 [N]: a sum to which the others add zeros."""

        @tf.function(autograph=False)
        def add(own: tf.Tensor) -> tf.Tensor:
            def on_replica() -> tf.Tensor:
                first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
                return own * tf.cast(first, tf.int64)

            with self.strategy.scope():
                results = self.strategy.run(on_replica)
                return self.strategy.reduce(tf.distribute.ReduceOp.SUM, results, axis=None)

        return add(tf.constant(numbers, tf.int64)).numpy()


def build_replicas(params: Params) -> Replicas | None:
    """Return the replicas that the parameters and the environment ask for; None: one, as ever.

    One of several processes has to call it before TensorFlow does anything, and waits here for the
    others.

    Raises:
        UserError: What `strategy` asks for is not here.
    """
    name, (worker, workers) = params.strategy, process_number()
    if name == "auto":
        name = "multi_worker" if workers > 1 else "mirrored" if len(_devices()) > 1 else "one"
    if name == "multi_worker":
        set_tf_config()
        if worker == 0:
            print(f"{workers} processes share each batch out", flush=True)
        with quiet(), _interruptible():
            return Replicas(tf.distribute.MultiWorkerMirroredStrategy(), worker, workers)
    if workers > 1:
        raise UserError(
            f"strategy: {name} is for one process; expected auto or multi_worker, for TF_CONFIG or "
            f"srun says that there are {workers}"
        )
    if name == "mirrored":
        if len(_devices()) == 1:
            raise UserError("strategy: mirrored needs several GPUs; received one device; try auto")
        return Replicas(tf.distribute.MirroredStrategy(_devices()))
    return None


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end this process while C++ waits for the others, where Python can't hear it."""
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _devices() -> list[str]:
    """Return the names of the GPUs, or without them, of the CPUs, one unless CPU_REPLICAS says
    otherwise."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in devices]


class SharedBatches(Batches):
    """This process' shares of batches; their weights are those in the mean over the batch."""

    def __init__(self, replicas: Replicas, *arguments, **options):
        self.replicas = replicas
        super().__init__(*arguments, **options)

    def places(self, index: int) -> np.ndarray:
        whole = super().places(index)
        return whole[self.replicas.share(len(whole))[0]]

    def __getitem__(self, index: int) -> tuple:
        x, y, *weights = super().__getitem__(index)
        shares = self.replicas.share(len(super().places(index)))[1]
        return x, y, shares * weights[0] if weights else shares
