"""What a classifier says of pictures."""

import numpy as np

from transfer.batches import Batches
from transfer.dataset import Split, plain_pixels
from transfer.engine import keras

BATCH_SIZE = 32  # more gains nothing on a CPU


def predict(classifier: keras.Model, split: Split) -> np.ndarray:
    """Return the probability of each class for each picture, float32 [N, classes]."""
    batches = Batches(plain_pixels(split), lambda places, view: (), len(split.rows), BATCH_SIZE)
    return probabilities_of(classifier.predict(batches, verbose=0))


def probabilities_of(logits: np.ndarray) -> np.ndarray:
    """Return the probability of each class, float32 [N, classes], of logits [N, 1 or classes]."""
    if logits.shape[1] == 1:
        second = keras.ops.convert_to_numpy(keras.ops.sigmoid(logits))
        return np.hstack([1 - second, second])
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))
