"""Training, the same for the head and for fine-tuning."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from transfer.core.errors import UserError
from transfer.core.files import METRICS, write_json
from transfer.core.runtime import keras, tf
from transfer.data.batches import Batches
from transfer.models.classifier import count_trainable_parameters
from transfer.training.features import Features
from transfer.training.resume import TrainingState
from transfer.training.strategy import Replicas
from transfer.training.targets import Targets
from transfer.training.trainer import SharedTrainer, Trainer, compile_for

HISTORY_COLUMNS = ("epoch", "accuracy", "loss", "val_accuracy", "val_loss")


def fit(
    classifier: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    features: Features,
    targets: tuple[Targets, Targets],
    batch_size: int,
    seed: int,
    epochs: int,
    first_epoch: int = 1,
    patience: int = 0,
    state: TrainingState | None = None,
    replicas: Replicas | None = None,
) -> list[tuple]:
    """Train the trainable layers of `classifier`; leave the weights of the epoch to keep in it.

    Of several processes only the chief comes back: the others end here, with success, for what
    follows is writing.

    Args:
        targets: Of the training and of the validation pictures.
        first_epoch: The number of the first epoch, from 1: fine-tuning goes on where the head's
            training ended.
        patience: After so many epochs without a lower validation loss the training stops, and the
            epoch to keep is the best; 0: none stops it, and it is the last.
        state: Where an interrupted run left its own; kept after each epoch.
        replicas: Those that share out each batch, of `batch_size` pictures in all; None: one.

    Returns:
        A row of HISTORY_COLUMNS an epoch.

    Raises:
        UserError: The loss is no longer a number, the features can't be read, or the memory is too
            small for a batch.
    """
    trainer, make = _trainer_and_batches(features, classifier, replicas)
    compile_for(trainer, classifier, optimizer)
    train, val = targets
    batches = make(features.train, train, len(train), batch_size, seed, features.views)
    validation = make(features.val, val, len(val), batch_size, views=1, keep=True)
    is_chief = not replicas or replicas.is_chief
    with errors_of_training(batch_size, batches, validation):
        progress = Progress(trainer, batches, patience, state)
        if progress.history and is_chief:
            print(f"an interrupted run left {len(progress.history)} of {epochs} epochs, which stay")
        done = first_epoch - 1 + len(progress.history)
        batches.start(done + 1)  # Keras reads two before the first epoch, for their shapes
        trainer.fit(
            batches,
            shuffle=False,  # Keras would reorder the batches, with Python's own random numbers
            callbacks=[progress],
            validation_data=validation,
            initial_epoch=done,
            epochs=done if progress.is_over() else first_epoch - 1 + epochs,
            verbose=(1 if sys.stdout.isatty() else 2) if is_chief else 0,
        )
    progress.keep_best()
    if not is_chief:
        sys.exit()
    return progress.history


def _trainer_and_batches(
    features: Features, classifier: keras.Model, replicas: Replicas | None
) -> tuple[Trainer, Callable[..., Batches]]:
    if replicas:
        return SharedTrainer(features.live, classifier, replicas), replicas.batches
    return Trainer(features.live, classifier), Batches


def kept_epoch(history: list[tuple], patience: int) -> tuple:
    """Return the row of the epoch whose weights `fit` keeps."""
    return min(history, key=lambda row: row[-1]) if patience else history[-1]


@contextmanager
def errors_of_training(batch_size: int, *batches: Batches) -> Iterator[None]:
    """Raise what a worker of the batches raised, which Keras and TensorFlow wrap in more words.

    Raises:
        UserError: The memory is too small.
    """
    try:
        yield
    except Exception as wrapped:
        error = next((b.error for b in batches if b.error), wrapped)
        if isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError)):
            error = UserError(
                f"the memory is too small for batches of {batch_size} pictures; lower batch_size "
                "or image_size, or raise fine_tune_at"
            )
        raise error from None


class Progress(keras.callbacks.Callback):
    """Keep the history and the state of a training after each epoch; begin with an earlier run's.

    The random numbers of dropout come from a variable of the trainer, so they go on as well. With
    patience, the best epoch's weights are kept, too.
    """

    def __init__(
        self, trainer: Trainer, batches: Batches, patience: int, state: TrainingState | None
    ):
        super().__init__()
        self.batches, self.patience, self.state = batches, patience, state
        self.trained = trainer.trainable_variables
        self.best = [keras.Variable(v, trainable=False) for v in self.trained if patience]
        self.variables = [*trainer.variables, *trainer.optimizer.variables, *self.best]
        self.history = state.restore(self.variables) if state else []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.batches.start(epoch + 1)

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        scores = [round(float(logs[column]), 6) for column in HISTORY_COLUMNS[1:]]
        if not np.isfinite(scores).all():
            raise UserError(
                f"the loss became {logs['loss']} in epoch {epoch + 1}, validation "
                f"{logs['val_loss']}: lower the learning rate"
            )
        self.history.append((epoch + 1, *scores))
        if kept_epoch(self.history, self.patience) is self.history[-1]:
            _copy(self.trained, self.best)
        if self.state:
            self.state.save(self.variables, self.history)
        self.model.stop_training = self.is_over()

    def is_over(self) -> bool:
        """Tell whether patience has come to its end."""
        if not self.patience or not self.history:
            return False
        best = kept_epoch(self.history, self.patience)
        return self.history[-1][0] - best[0] >= self.patience

    def keep_best(self) -> None:
        """Give the weights of the epoch to keep back to the trainer."""
        _copy(self.best, self.trained)


def _copy(sources: list[keras.Variable], targets: list[keras.Variable]) -> None:
    for source, target in zip(sources, targets, strict=False):  # without patience one has none
        target.assign(source)


def report(
    name: str, classifier: keras.Model, epochs: int, kept: tuple, started: float, **more
) -> None:
    """Write `metrics/{name}.json`; print one line, with the time, which no file may hold.

    Args:
        epochs: How many there were.
        kept: The row of the one whose weights are kept.
        started: `time.monotonic()` at the start.
        more: What to write besides, or instead.
    """
    *_, val_accuracy, val_loss = kept
    trainable = count_trainable_parameters(classifier)
    write_json(
        METRICS / f"{name}.json",
        {
            "val_accuracy": val_accuracy,
            "val_loss": val_loss,
            "epochs": epochs,
            "trainable_parameters": trainable,
        }
        | more,
    )
    print(
        f"{name}: {epochs} epochs, {trainable:,} trainable parameters, validation accuracy "
        f"{val_accuracy:.4f}, loss {val_loss:.4f}, {time.monotonic() - started:.0f} s"
    )
