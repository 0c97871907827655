"""Predict the probabilities of the classes."""

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


def to_probabilities(logits: np.ndarray) -> np.ndarray:
    """Convert logits to probabilities, float32 [N, classes].

    Args:
        logits: float [N, 1], the logit of the second of two classes; or float [N, classes].
    """
    if logits.shape[1] == 1:
        second = keras.ops.convert_to_numpy(keras.ops.sigmoid(logits))
        return np.hstack([1 - second, second])
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


def uncalibrated(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probabilities that a model had before its logits were divided, float32 [N, C].

    Args:
        probabilities: float32 [N, C].
        temperature: What the logits were divided by.
    """
    smallest = np.finfo(np.float32).tiny  # log(0) would be 0 at any temperature
    logs = np.log(probabilities.astype(np.float64).clip(smallest))
    return softmax(temperature * logs, axis=1).astype(np.float32)
