"""The pictures of a split that a classifier's base sees as most like another one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from transfer.core.parallel import CORES, map_in_threads
from transfer.data.dataset import Split

BATCH = 32  # pictures; each core has one


@dataclass(frozen=True)
class Neighbours:
    """Images to compare with.

    places: int [N], which of the split's pictures.
    directions: float32 [N, D], their features, each of length 1.
    """

    split: Split
    places: np.ndarray
    directions: np.ndarray

    def nearest(self, features: np.ndarray, most: int) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Return the pictures most like one, nearest first.

        Args:
            features: float32 [D], those of the one.
            most: How many, if there are so many.

        Returns:
            uint8 pixels [K, H, W, 3], K labels and the cosines of the features, float32 [K].
        """
        cosines = self.directions @ directions(features)
        order = np.argsort(-cosines, kind="stable")[:most]
        places = self.places[order]
        labels = [self.split.class_names[label] for label in self.split.labels[places]]
        return self.split.images[self.split.rows[places]], labels, cosines[order]


def compute_neighbours(
    extract: Callable[[np.ndarray], np.ndarray], split: Split, most: int
) -> Neighbours:
    """Compute the features of at most `most` pictures of a split that has some, spread evenly.

    Args:
        extract: From uint8 pixels [N, H, W, 3] to features, float32 [N, D].
    """
    places = spread_evenly(len(split.rows), most)
    batches = np.split(split.rows[places], range(BATCH, len(places), BATCH))
    features = map_in_threads(lambda rows: extract(split.images[rows]), batches, 2 * CORES)
    return Neighbours(split, places, directions(np.concatenate(list(features))))


def spread_evenly(total: int, most: int) -> np.ndarray:
    """Choose at most `most` of `total` places, spread evenly, int [min(total, most)]."""
    count = min(total, most)
    return np.arange(count) * total // max(count, 1)


def directions(features: np.ndarray) -> np.ndarray:
    """Scale features, float32 [..., D], to length 1; all zeros stay as they are."""
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    return features / np.where(lengths, lengths, 1)
