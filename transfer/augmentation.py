"""Random flips and rotations of the training pictures.

What a picture gets is a function of seed, epoch and its place in the split; batches, threads and
earlier epochs have no part in it.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from transfer.dataset import Source, Split

cv2.setNumThreads(1)  # a batch is shared out picture by picture instead
_POOL = ThreadPoolExecutor()


@dataclass(frozen=True)
class Augmentation:
    """What Keras' RandomFlip and RandomRotation do, as one map of each picture.

    flip: none, horizontal, vertical or horizontal_and_vertical, each with probability 1/2.
    rotation: Up to this share of a full turn, either way.
    """

    flip: str
    rotation: float
    seed: int

    def draw(self, pictures: int, size: int, epoch: int) -> np.ndarray:
        """Draw an affine map for each picture of a split.

        Returns:
            float64 [pictures, 2, 3], from places x, y in the result to places in the picture.
        """
        rng = np.random.default_rng([self.seed, epoch, 1])  # not the stream of the shuffling
        angle = 2 * np.pi * rng.uniform(-self.rotation, self.rotation, pictures)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        mirrored = rng.random((2, 1, pictures)) < 0.5
        allowed = np.reshape(["horizontal" in self.flip, "vertical" in self.flip], (2, 1, 1))
        linear = np.where(mirrored & allowed, -turn, turn)
        centre = (size - 1) / 2  # which stays where it is
        offset = centre - linear.sum(axis=1, keepdims=True) * centre
        return np.concatenate([linear, offset], axis=1).transpose(2, 0, 1)


def warp(pixels: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Apply a map to each picture: bilinear, reflected at the border, rounded to whole pixels.

    Args:
        pixels: uint8 [B, H, W, 3].
        maps: float64 [B, 2, 3].

    Returns:
        uint8 [B, H, W, 3].
    """
    warped = np.empty_like(pixels)

    def fill(index: int) -> None:
        cv2.warpAffine(
            pixels[index],
            maps[index],
            pixels.shape[2:0:-1],
            dst=warped[index],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )

    list(_POOL.map(fill, range(len(pixels))))
    return warped


def pixels_of(split: Split, augmentation: Augmentation | None = None) -> Source:
    """Return the source of a split's pixels, uint8 [B, H, W, 3], augmented if so asked."""
    if augmentation is None:
        return lambda places, epoch: (split.images[split.rows[places]],)
    draw = lru_cache(maxsize=1)(augmentation.draw)

    def read(places: np.ndarray, epoch: int) -> tuple[np.ndarray]:
        pixels = split.images[split.rows[places]]
        return (warp(pixels, draw(len(split.rows), pixels.shape[1], epoch)[places]),)

    return read
