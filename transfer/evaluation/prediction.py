"""Predict the probabilities of the classes."""

from collections.abc import Callable

import numpy as np
from scipy.special import softmax

from transfer.core.runtime import keras
from transfer.data.batches import Batches
from transfer.data.dataset import Split, plain_pixels

BATCH_SIZE = 32  # more gains nothing on a CPU


def predict(classifier: keras.Model, split: Split) -> np.ndarray:
    """Return the probability of each class for each image of a split, float32 [N, classes]."""
    batches = Batches(plain_pixels(split), lambda indices, view: (), len(split.rows), BATCH_SIZE)
    return to_probabilities(classifier.predict(batches, verbose=0))


def add_features(classifier: keras.Model) -> keras.Model:
    """Return a model of the same layers that gives logits and the pooled features of the base."""
    preprocessing, base, head = (classifier.get_layer(n) for n in ("preprocessing", "base", "head"))
    inputs = keras.Input(classifier.input_shape[1:], dtype="uint8")
    maps = base(preprocessing(inputs), training=False)
    return keras.Model(inputs, [head(maps), head.layers[0](maps)])


def to_probabilities(logits: np.ndarray) -> np.ndarray:
    """Convert logits to probabilities, float32 [N, classes].

    Args:
        logits: float [N, 1], the logit of the second of two classes; or float [N, classes].
    """
    if logits.shape[1] == 1:
        second = keras.ops.convert_to_numpy(keras.ops.sigmoid(logits))
        return np.hstack([1 - second, second])
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


def predict_and_score(
    classifier: keras.Model,
    split: Split,
    score: Callable[[np.ndarray, np.ndarray], keras.KerasTensor],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities, float32 [N, classes], and a score, [N], of a split's images.

    Args:
        classifier: The model.
        split: The images.
        score: From pooled features, float32 [B, D], and probabilities, float32 [B, classes], to the
            score of each image, float32 [B].
    """
    model, parts = add_features(classifier), []
    for start in range(0, len(split.rows), BATCH_SIZE):
        pixels = split.images[split.rows[start : start + BATCH_SIZE]]
        logits, features = model.predict_on_batch(pixels)
        probabilities = to_probabilities(logits)
        scores = keras.ops.convert_to_numpy(score(features, probabilities))
        parts.append((probabilities, scores))
    probabilities, scores = map(np.concatenate, zip(*parts, strict=True))
    return probabilities, scores


def uncalibrated(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probabilities that a model had before its logits were divided, float32 [N, C].

    Args:
        probabilities: float32 [N, C].
        temperature: What the logits were divided by.
    """
    smallest = np.finfo(np.float32).tiny  # log(0) would be 0 at any temperature
    logs = np.log(probabilities.astype(np.float64).clip(smallest))
    return softmax(temperature * logs, axis=1).astype(np.float32)
