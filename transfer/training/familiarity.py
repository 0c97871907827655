"""Measure on training and validation images what tells how familiar an image is to a model."""

import numpy as np

from transfer.data.dataset import Split, evenly_spaced
from transfer.models.familiarity import Familiarity, familiar_from, learn_familiarity
from transfer.models.inference import Inference, extract_rows
from transfer.training.calibration import log_probabilities

# Training images, evenly spaced: with twice as many, the score was no better (docs/unfamiliar.md).
TRAIN_IMAGES, OF_EACH_CLASS = 500, 20  # the larger number of both
VAL_IMAGES = 1_000


def measure_familiarity(
    base: Inference, train: Split, val: Split, logits: np.ndarray
) -> tuple[Familiarity, float, float]:
    """Learn what the training images' features have in common, and set the limit.

    Args:
        base: Of the delivered classifier, compiled by `compile_base`.
        train: The training images.
        val: The validation images.
        logits: Of the classifier for all validation images, float [N, 1] or [N, classes].

    Returns:
        What the score needs; the score from which on an image is familiar; and the fraction of the
        validation images below it.
    """

    def features_of(split: Split, indices: np.ndarray) -> np.ndarray:
        return extract_rows(lambda pixels: base(pixels)[0], split.images, split.rows[indices])

    classes = len(train.class_names)
    max_count = max(TRAIN_IMAGES, OF_EACH_CLASS * classes)
    shown = features_of(train, evenly_spaced(len(train.rows), max_count))
    familiarity = learn_familiarity(shown, classes)
    indices = evenly_spaced(len(val.rows), VAL_IMAGES)
    probabilities = np.exp(log_probabilities(logits[indices])).astype(np.float32)
    scores = familiarity.score(features_of(val, indices), probabilities)
    limit = familiar_from(scores)
    return familiarity, limit, float(np.mean(scores < limit))
