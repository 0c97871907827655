"""Training, the same for the head and for fine-tuning."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from transfer.batches import Batches
from transfer.engine import keras, tf
from transfer.errors import UserError
from transfer.features import Features
from transfer.files import METRICS, write_json
from transfer.model import count_trainable_parameters
from transfer.resume import TrainingState
from transfer.targets import Targets

HISTORY_COLUMNS = ("epoch", "accuracy", "loss", "val_accuracy", "val_loss")


class Trainer(keras.Model):
    """Train a classifier's own layers, those of the base in inference mode, on the features that
    the frozen ones among them give.

    Keras up to 3.15 overrides `base(x, training=False)` inside a Functional model during `fit`
    (keras#20285): BatchNormalization would then normalise by the batch and ruin the base's moving
    statistics. Called from here, the base's mode is what is said; gamma and beta may still train.
    """

    def __init__(self, live: keras.Model, classifier: keras.Model):
        super().__init__()
        self.live = live
        self.head = classifier.get_layer("head").layers[1:]  # `live` ends with the pooling

    def call(self, features, training: bool = False):
        x = self.live(keras.tree.flatten(features), training=False)
        for layer in self.head:
            x = layer(x, training=training)
        return x


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
) -> list[tuple]:
    """Train the trainable layers of `classifier`; leave the weights of the epoch to keep in it.

    Args:
        targets: Of the training and of the validation pictures.
        first_epoch: The number of the first epoch, from 1: fine-tuning goes on where the head's
            training ended.
        patience: After so many epochs without a lower validation loss the training stops, and the
            epoch to keep is the best; 0: none stops it, and it is the last.
        state: Where an interrupted run left its own; kept after each epoch.

    Returns:
        A row of HISTORY_COLUMNS an epoch.

    Raises:
        UserError: The loss is no longer a number, the features can't be read, or the memory is too
            small for a batch.
    """
    trainer = compiled(Trainer(features.live, classifier), classifier, optimizer)
    train, val = targets
    batches = Batches(features.train, train, len(train), batch_size, seed, features.views)
    validation = Batches(features.val, val, len(val), batch_size, views=1, keep=True)
    progress = Progress(trainer, batches, patience, state)
    if progress.history:
        print(f"an interrupted run left {len(progress.history)} of {epochs} epochs, which stay")
    done = first_epoch - 1 + len(progress.history)
    batches.start(done + 1)  # Keras reads two before the first epoch, for their shapes
    with errors_of_training(batch_size, batches, validation):
        trainer.fit(
            batches,
            shuffle=False,  # Keras would reorder the batches, with Python's own random numbers
            callbacks=[progress],
            validation_data=validation,
            initial_epoch=done,
            epochs=done if progress.is_over() else first_epoch - 1 + epochs,
            verbose=1 if sys.stdout.isatty() else 2,
        )
    progress.keep_best()
    return progress.history


def kept_epoch(history: list[tuple], patience: int) -> tuple:
    """Return the row of the epoch whose weights `fit` keeps."""
    return min(history, key=lambda row: row[-1]) if patience else history[-1]


def compiled(
    trainer: Trainer, classifier: keras.Model, optimizer: keras.optimizers.Optimizer
) -> Trainer:
    """Compile a trainer with the loss and the accuracy that the classifier's logits ask for."""
    if any(layer.compute_dtype == "float16" for layer in trainer.live.layers):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    loss, accuracy = _loss_and_accuracy(classifier)
    # XLA makes MobileNetV2's convolutions 20 times slower on a CPU.
    trainer.compile(optimizer, loss, metrics=[accuracy], jit_compile=False)
    trainer.optimizer.build(trainer.trainable_variables)
    return trainer


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


def _loss_and_accuracy(classifier: keras.Model) -> tuple[keras.losses.Loss, keras.metrics.Metric]:
    if classifier.output_shape[-1] == 1:
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        return loss, keras.metrics.MeanMetricWrapper(_same_side, name="accuracy")
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    return loss, keras.metrics.CategoricalAccuracy(name="accuracy")


def _same_side(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return where a logit and a target, which may be smoothed or mixed, mean the same class."""
    return tf.cast((targets > 0.5) == (logits > 0), tf.float32)


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
