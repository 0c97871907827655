"""What a classifier says of pictures."""

import numpy as np

from transfer.augmentation import pixels_of
from transfer.batches import Batches
from transfer.dataset import Split
from transfer.engine import keras

BATCH_SIZE = 32  # more gains nothing on a CPU


def predict(classifier: keras.Model, split: Split) -> np.ndarray:
    """Return the probability of each class for each picture, float32 [N, classes]."""
    batches = Batches(pixels_of(split), split.labels, BATCH_SIZE)
    logits = classifier.predict(batches, verbose=0)
    if logits.shape[1] == 1:
        second = keras.ops.convert_to_numpy(keras.ops.sigmoid(logits))
        return np.hstack([1 - second, second])
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))
