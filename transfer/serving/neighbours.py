"""Find the images of a split that are most similar to an image, by the features of the base."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from transfer.data.dataset import Split, evenly_spaced
from transfer.models.inference import extract_rows


@dataclass(frozen=True)
class NeighbourIndex:
    """Images to search.

    split: The split that they are from.
    indices: int [N], indices of the images in the split.
    features: float32 [N, D], each normalized to length 1.
    """

    split: Split
    indices: np.ndarray
    features: np.ndarray

    def nearest(
        self, features: np.ndarray, max_count: int
    ) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Return the most similar images, nearest first.

        Args:
            features: Of the image to compare with, float32 [D].
            max_count: The number of images, if the index has as many.

        Returns:
            uint8 pixels [K, H, W, 3], K labels, and the cosine similarities, float32 [K].
        """
        cosines = self.features @ normalize(features)
        order = np.argsort(-cosines, kind="stable")[:max_count]
        indices = self.indices[order]
        labels = [self.split.class_names[label] for label in self.split.labels[indices]]
        return self.split.images[self.split.rows[indices]], labels, cosines[order]


def build_index(
    extract: Callable[[np.ndarray], np.ndarray], split: Split, max_count: int
) -> NeighbourIndex:
    """Compute the features of some images of a split, evenly spaced.

    Args:
        extract: From uint8 pixels [N, H, W, 3] to features, float32 [N, D].
        split: Holds at least one image.
        max_count: The number of images, if the split has as many.
    """
    indices = evenly_spaced(len(split.rows), max_count)
    features = extract_rows(extract, split.images, split.rows[indices])
    return NeighbourIndex(split, indices, normalize(features))


def normalize(features: np.ndarray) -> np.ndarray:
    """Scale features, float32 [..., D], to length 1; zero vectors stay as they are."""
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    return features / np.where(lengths, lengths, 1)
