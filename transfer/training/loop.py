"""Training, the same for the head and for fine-tuning."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from transfer.core.errors import UserError
from transfer.core.runtime import keras, tf
from transfer.data.batches import Batches
from transfer.training.features import Features
from transfer.training.history import HISTORY_COLUMNS, kept_epoch
from transfer.training.resume import TrainingState
from transfer.training.strategy import Replicas
from transfer.training.targets import Targets
from transfer.training.trainer import SharedTrainer, Trainer, compile_for


@dataclass(frozen=True)
class Loop:
    """What the training loop goes through.

    batch_size: Images in a batch, of all replicas together.
    seed: Of the order of the images in each epoch.
    epochs: How many.
    first_epoch: The number of the first one, from 1.
    patience: Stop after this many epochs without a lower validation loss, and keep the best epoch;
        0: train all epochs, keep the last.
    callbacks: Of Keras, besides the loop's own.
    """

    batch_size: int
    seed: int
    epochs: int
    first_epoch: int = 1
    patience: int = 0
    callbacks: tuple[keras.callbacks.Callback, ...] = ()


def fit(
    classifier: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    features: Features,
    targets: tuple[Targets, Targets],
    loop: Loop,
    state: TrainingState | None = None,
    replicas: Replicas | None = None,
) -> list[tuple]:
    """Train the trainable layers of a classifier and leave the weights of the kept epoch in it.

    Of several processes only the chief returns; the others exit with code 0, since what follows is
    writing.

    Args:
        classifier: Trained in place.
        optimizer: Not built yet.
        features: What the classifier's live layers start from.
        targets: Of the training and of the validation images.
        loop: Epochs, batch size, seed and patience.
        state: Of an interrupted run, which is continued; saved after each epoch.
        replicas: The devices that share each batch; None: a single one.

    Returns:
        The history, a row of HISTORY_COLUMNS per epoch.

    Raises:
        UserError: The loss is not finite, the features can't be read, or a batch does not fit into
            the memory.
    """
    trainer, batches, validation = _prepare(classifier, features, targets, loop, replicas)
    compile_for(trainer, classifier, optimizer)
    with errors_of_training(loop.batch_size, batches, validation):
        progress = Progress(trainer, batches, loop.patience, state)
        _run_epochs(trainer, batches, validation, progress, loop, not replicas or replicas.is_chief)
    progress.keep_best()
    if replicas and not replicas.is_chief:
        sys.exit()
    return progress.history


def _prepare(
    classifier: keras.Model,
    features: Features,
    targets: tuple[Targets, Targets],
    loop: Loop,
    replicas: Replicas | None,
) -> tuple[Trainer, Batches, Batches]:
    """Build the trainer and the batches of the training and of the validation images."""
    if replicas:
        trainer, make = SharedTrainer(features.live, classifier, replicas), replicas.batches
    else:
        trainer, make = Trainer(features.live, classifier), Batches
    train, val = targets
    batches = make(features.train, train, len(train), loop.batch_size, loop.seed, features.views)
    validation = make(features.val, val, len(val), loop.batch_size, views=1, keep=True)
    return trainer, batches, validation


def _run_epochs(
    trainer: Trainer,
    batches: Batches,
    validation: Batches,
    progress: "Progress",
    loop: Loop,
    is_chief: bool,
) -> None:
    """Run the epochs that an interrupted run has not done."""
    if progress.history and is_chief:
        done_here = len(progress.history)
        print(f"continuing an interrupted run: {done_here} of {loop.epochs} epochs are done")
    before = loop.first_epoch - 1
    done = before + len(progress.history)
    batches.start(done + 1)  # Keras reads two batches before the first epoch, for their shapes
    trainer.fit(
        batches,
        shuffle=False,  # Keras would reorder the batches, with Python's own random numbers
        callbacks=[progress, *loop.callbacks],
        validation_data=validation,
        initial_epoch=done,
        epochs=done if progress.is_over() else before + loop.epochs,
        verbose=(1 if sys.stdout.isatty() else 2) if is_chief else 0,
    )


@contextmanager
def errors_of_training(batch_size: int, *batches: Batches) -> Iterator[None]:
    """Raise the error of a worker itself, which Keras and TensorFlow wrap in more words.

    Args:
        batch_size: For the message.
        batches: Those whose workers may have failed.

    Raises:
        UserError: A batch does not fit into the memory.
    """
    try:
        yield
    except Exception as wrapped:
        error = next((b.error for b in batches if b.error), wrapped)
        if isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError)):
            error = UserError(
                f"the memory is too small for batches of {batch_size} images; lower batch_size "
                "or image_size, or raise fine_tune_at"
            )
        raise error from None


class Progress(keras.callbacks.Callback):
    """Save history and state after each epoch; start from those of an interrupted run.

    Dropout's random numbers come from a variable of the trainer, so they continue as well. With
    patience, the weights of the best epoch are kept, too.
    """

    def __init__(
        self, trainer: Trainer, batches: Batches, patience: int, state: TrainingState | None
    ) -> None:
        super().__init__()
        self.batches, self.patience, self.state = batches, patience, state
        self.trained = trainer.trainable_variables
        self.best = [keras.Variable(v, trainable=False) for v in self.trained if patience]
        self.variables = [*trainer.variables, *trainer.optimizer.variables, *self.best]
        self.history = state.restore(self.variables) if state else []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Give the batches the order and the view of this epoch."""
        self.batches.start(epoch + 1)

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Add a row to the history and save the state.

        Raises:
            UserError: The loss is not finite.
        """
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
        """Return whether early stopping ends the training here."""
        if not self.patience or not self.history:
            return False
        best = kept_epoch(self.history, self.patience)
        return self.history[-1][0] - best[0] >= self.patience

    def keep_best(self) -> None:
        """Give the trainer the weights of the best epoch, if patience asks for them."""
        _copy(self.best, self.trained)


def _copy(sources: list[keras.Variable], targets: list[keras.Variable]) -> None:
    for source, target in zip(sources, targets, strict=False):  # one list is empty without patience
        target.assign(source)
