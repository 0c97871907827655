"""Training and prediction, the same for the head and for fine-tuning."""

import sys
import time
from collections.abc import Callable

import numpy as np

from transfer.dataset import Split
from transfer.engine import keras, tf
from transfer.files import METRICS, write_json
from transfer.folding import cut, fold
from transfer.model import count_trainable_parameters

HISTORY_COLUMNS = ("epoch", "accuracy", "loss", "val_accuracy", "val_loss")
PREDICTION_BATCH = 32  # more gains nothing on a CPU
FEATURE_BYTES = 2**30


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


class Features(Batches):
    """Batches of what the frozen layers make of a split, the same in every epoch.

    Kept in memory up to FEATURE_BYTES; what is beyond is computed each time.
    """

    def __init__(self, split: Split, batch_size: int, extract: Callable):
        super().__init__(split, batch_size)
        self.extract, self.kept, self.bytes = extract, {}, 0

    def __getitem__(self, index: int) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        if index in self.kept:
            return self.kept[index]
        pixels, labels = super().__getitem__(index)
        features = tuple(feature.numpy() for feature in self.extract(pixels))
        self.bytes += sum(feature.nbytes for feature in features)
        if self.bytes <= FEATURE_BYTES:
            self.kept[index] = features, labels
        return features, labels


class Trainer(keras.Model):
    """Train a classifier's own layers, the base always in inference mode, with as little work as
    that takes.

    Keras up to 3.15 overrides `base(x, training=False)` inside a Functional model during `fit`
    (keras#20285): BatchNormalization would then normalise by the batch and ruin the base's moving
    statistics. Called from here, the base's mode is what is said; gamma and beta may still train.
    """

    def __init__(self, classifier: keras.Model):
        super().__init__()
        self.augmentation = classifier.get_layer("augmentation")
        self.preprocessing = classifier.get_layer("preprocessing")
        pooling, *self.head = classifier.get_layer("head").layers
        base = fold(classifier.get_layer("base"))
        pooling = type(pooling).from_config(pooling.get_config())
        self.frozen, self.live = cut(keras.Model(base.input, pooling(base.output)))

    def call(self, pixels: tf.Tensor, training: bool = False) -> tf.Tensor:
        pixels = self.augmentation(pixels, training=training)
        return self.classify(self.extract(pixels), training)

    def extract(self, pixels: tf.Tensor) -> list[tf.Tensor]:
        """Return what the frozen layers make of pixels."""
        pixels = keras.ops.cast(pixels, "float32")
        return keras.tree.flatten(self.frozen(self.preprocessing(pixels), training=False))

    def classify(self, features: list[tf.Tensor], training: bool) -> tf.Tensor:
        """Return logits."""
        x = self.live(list(features), training=False)
        for layer in self.head:
            x = layer(x, training=training)
        return x

    def test_step(self, data: tuple) -> dict:
        """Validate on features instead of pixels."""
        features, labels = data
        logits = self.classify(features, training=False)
        loss = self.compute_loss(features, labels, logits, training=False)
        self.metrics[0].update_state(loss, sample_weight=tf.shape(labels)[0])
        return self.compute_metrics(features, labels, logits)


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
        validation_data=Features(val, batch_size, tf.function(trainer.extract)),
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
