"""Predict the probabilities of the classes."""

import numpy as np

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
