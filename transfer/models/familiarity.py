"""How familiar an image is to a model: how much it is like the images that the model learned from.

An image of something else has features that the training images do not have. The score is how much
of an image's features the main directions of the training images' features explain, in the manner
of ViM (Wang et al., 2022), mixed with the largest probability. docs/unfamiliar.md compares it with
other scores. It measures similarity, and proves nothing.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

DIRECTIONS = 32  # main directions of the features, and one more for each class
OF_PROBABILITY = 0.2  # of the score: the largest probability; the rest: what is explained
KEPT = 0.98  # of the validation images are familiar
EPSILON = 1e-7
Tensor = Any  # an array, or a tensor of Keras


@dataclass(frozen=True)
class Familiarity:
    """What the score needs to know about the training images.

    centre: float32 [D], the mean of their damped features.
    directions: float32 [K, D], orthogonal, each of length 1.
    """

    centre: np.ndarray
    directions: np.ndarray

    def score(self, features: Tensor, probabilities: Tensor, ops: ModuleType = np) -> Tensor:
        """Return how familiar images are, float32 [N], from 0 to 1.

        Args:
            features: Pooled, float32 [N, D].
            probabilities: Of the classes, float32 [N, C].
            ops: keras.ops for tensors, as an export has them.
        """
        offsets = damp(features, ops) - self.centre
        explained = _length(ops.matmul(offsets, self.directions.T), ops)
        explained = explained / ops.maximum(_length(offsets, ops), EPSILON)
        largest = ops.max(probabilities, axis=1)
        # The directions are rounded to float16, so the length may exceed 1 a little.
        explained = ops.minimum(explained, 1)
        return (1 - OF_PROBABILITY) * explained + OF_PROBABILITY * largest

    def to_array(self) -> np.ndarray:
        """Return what is stored, float16 [1 + K, D]."""
        return np.vstack([self.centre, self.directions]).astype(np.float16)

    @classmethod
    def from_array(cls, array: np.ndarray) -> "Familiarity":
        """Return what `to_array` stored."""
        centre, *directions = array.astype(np.float32)
        return cls(centre, np.array(directions))


def learn_familiarity(features: np.ndarray, classes: int) -> Familiarity:
    """Find the main directions of features, with the precision that is stored.

    Args:
        features: Of training images, pooled, float32 [N, D].
        classes: Their number, in which many classes differ more than a few do.
    """
    features = damp(features)
    centre = features.mean(axis=0)
    _, _, directions = np.linalg.svd(features - centre, full_matrices=False)
    found = Familiarity(centre, directions[: DIRECTIONS + classes])
    return Familiarity.from_array(found.to_array())


def familiar_from(scores: np.ndarray) -> float:
    """Return the score from which on an image is familiar, rounded down to four digits.

    Args:
        scores: Of the validation images, float [N]; at least the fraction KEPT of them reach it.
    """
    lowest = np.sort(scores)[int((1 - KEPT) * len(scores))]
    return float(np.floor(lowest.astype(np.float64) * 10_000) / 10_000)


def damp(features: Tensor, ops: ModuleType = np) -> Tensor:
    """Return the square roots of features, with their signs, so that no single one dominates."""
    return ops.sign(features) * ops.sqrt(ops.abs(features))


def _length(vectors: Tensor, ops: ModuleType) -> Tensor:
    """Return the length of each vector, [N], of [N, D]."""
    return ops.sqrt(ops.sum(ops.square(vectors), axis=1))
