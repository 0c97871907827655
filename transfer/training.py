"""Training and prediction, the same for the head and for fine-tuning."""

import sys
import time

import numpy as np

from transfer.dataset import Split
from transfer.engine import keras, tf
from transfer.files import METRICS, write_json
from transfer.model import count_trainable_parameters

HISTORY_COLUMNS = ("epoch", "accuracy", "loss", "val_accuracy", "val_loss")
PREDICTION_BATCH = 32  # more gains nothing on a CPU


class Batches(keras.utils.PyDataset):
    """Batches of a split: uint8 [B, H, W, 3] and int labels [B].

    With a seed each epoch has its own order, a pure function of seed and epoch.
    """

    def __init__(self, split: Split, batch_size: int, seed: int | None = None, epoch: int = 0):
        super().__init__()
        self.split, self.batch_size, self.seed, self.epoch = split, batch_size, seed, epoch
        self._shuffle()

    def __len__(self) -> int:
        return -(-len(self.split.rows) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.split.images[self.split.rows[chosen]], self.split.labels[chosen]

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self._shuffle()

    def _shuffle(self) -> None:
        self.order = np.arange(len(self.split.rows))
        if self.seed is not None:
            np.random.default_rng([self.seed, self.epoch]).shuffle(self.order)


class Trainer(keras.Model):
    """Run a classifier's own layers, the base always in inference mode.

    Keras up to 3.15 overrides `base(x, training=False)` inside a Functional model during `fit`
    (keras#20285): BatchNormalization would then normalise by the batch and ruin the base's moving
    statistics. Called from here, the base's mode is what is said; gamma and beta may still train.
    """

    def __init__(self, classifier: keras.Model):
        super().__init__()
        self.augmentation = classifier.get_layer("augmentation")
        self.preprocessing = classifier.get_layer("preprocessing")
        self.base = classifier.get_layer("base")
        self.head = classifier.get_layer("head")

    def call(self, pixels: tf.Tensor, training: bool = False) -> tf.Tensor:
        x = self.preprocessing(self.augmentation(pixels, training=training))
        return self.head(self.base(x, training=False), training=training)


def fit(
    classifier: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    train: Split,
    val: Split,
    batch_size: int,
    seed: int,
    epochs: int,
    first_epoch: int = 1,
) -> list[tuple]:
    """Train the trainable layers of `classifier`.

    Args:
        first_epoch: The number of the first epoch, from 1: fine-tuning goes on where the head's
            training ended.

    Returns:
        A row of HISTORY_COLUMNS an epoch.
    """
    trainer = Trainer(classifier)
    if classifier.output_shape[-1] == 1:
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        accuracy = keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    # XLA makes MobileNetV2's convolutions 20 times slower on a CPU.
    trainer.compile(optimizer, loss, metrics=[accuracy], jit_compile=False)
    log = trainer.fit(
        Batches(train, batch_size, seed, first_epoch),
        validation_data=Batches(val, batch_size),
        initial_epoch=first_epoch - 1,
        epochs=first_epoch - 1 + epochs,
        verbose=1 if sys.stdout.isatty() else 2,
    ).history
    return [
        (first_epoch + i, *(round(log[column][i], 6) for column in HISTORY_COLUMNS[1:]))
        for i in range(epochs)
    ]


def predict(classifier: keras.Model, split: Split) -> np.ndarray:
    """Return the probability of each class for each picture, float32 [N, classes]."""
    logits = classifier.predict(Batches(split, PREDICTION_BATCH), verbose=0)
    if logits.shape[1] == 1:
        second = keras.ops.convert_to_numpy(keras.ops.sigmoid(logits))
        return np.hstack([1 - second, second])
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


def report(name: str, classifier: keras.Model, history: list[tuple], started: float) -> None:
    """Write `metrics/{name}.json`; print one line, with the time, which no file may hold.

    Args:
        history: From `fit`.
        started: `time.monotonic()` at the start.
    """
    *_, val_accuracy, val_loss = history[-1]
    trainable = count_trainable_parameters(classifier)
    write_json(
        METRICS / f"{name}.json",
        {
            "val_accuracy": val_accuracy,
            "val_loss": val_loss,
            "epochs": len(history),
            "trainable_parameters": trainable,
        },
    )
    print(
        f"{name}: {len(history)} epochs, {trainable:,} trainable parameters, validation accuracy "
        f"{val_accuracy:.4f}, loss {val_loss:.4f}, {time.monotonic() - started:.0f} s"
    )
