"""Training, the same for the head and for fine-tuning."""

import sys
import time

import numpy as np

from transfer.batches import Batches
from transfer.engine import keras
from transfer.features import Features
from transfer.files import METRICS, write_json
from transfer.model import count_trainable_parameters

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
    labels: tuple[np.ndarray, np.ndarray],
    batch_size: int,
    seed: int,
    epochs: int,
    first_epoch: int = 1,
) -> list[tuple]:
    """Train the trainable layers of `classifier`.

    Args:
        labels: Of the training and of the validation pictures, int [N] each.
        first_epoch: The number of the first epoch, from 1: fine-tuning goes on where the head's
            training ended.

    Returns:
        A row of HISTORY_COLUMNS an epoch.
    """
    trainer = Trainer(features.live, classifier)
    loss, accuracy = _loss_and_accuracy(classifier)
    if any(layer.compute_dtype == "float16" for layer in features.live.layers):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    # XLA makes MobileNetV2's convolutions 20 times slower on a CPU.
    trainer.compile(optimizer, loss, metrics=[accuracy], jit_compile=False)
    batches = Batches(features.train, labels[0], batch_size, seed)
    batches.start(first_epoch)  # Keras reads two before the first epoch, for their shapes
    start = keras.callbacks.LambdaCallback(on_epoch_begin=lambda i, logs: batches.start(i + 1))
    log = trainer.fit(
        batches,
        shuffle=False,  # Keras would reorder the batches, with Python's own random numbers
        callbacks=[start],
        validation_data=Batches(features.val, labels[1], batch_size, keep=True),
        initial_epoch=first_epoch - 1,
        epochs=first_epoch - 1 + epochs,
        verbose=1 if sys.stdout.isatty() else 2,
    ).history
    return [
        (first_epoch + i, *(round(log[column][i], 6) for column in HISTORY_COLUMNS[1:]))
        for i in range(epochs)
    ]


def _loss_and_accuracy(classifier: keras.Model) -> tuple[keras.losses.Loss, keras.metrics.Metric]:
    if classifier.output_shape[-1] == 1:
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        return loss, keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return loss, keras.metrics.SparseCategoricalAccuracy(name="accuracy")


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
