"""Random changes of the training pictures.

What a picture gets is a function of seed, epoch and its place in the split; batches, threads and
earlier epochs have no part in it.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from transfer.core.params import Params
from transfer.data.dataset import Reader, Split, plain_pixels

cv2.setNumThreads(1)  # a batch is shared out picture by picture instead
_POOL = ThreadPoolExecutor()
GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
# Random streams, so that what is switched on changes nothing of the rest; 0 is the shuffling.
WARP, CROP, COLOR, MIXUP = 1, 2, 3, 4


@dataclass(frozen=True)
class Augmentation:
    """What is done to the training pictures; by default nothing.

    flip: none, horizontal, vertical or horizontal_and_vertical, each with probability 1/2, as by
        Keras' RandomFlip.
    rotation: Up to this share of a full turn, either way, as by Keras' RandomRotation.
    random_crop: Up to this share of the side is cut off, and the rest enlarged.
    color_jitter: Brightness, contrast and saturation are changed by up to this share, each.
    mixup: The alpha of mixup (Zhang et al., 2018); 0: none.
    """

    seed: int
    flip: str = "none"
    rotation: float = 0.0
    random_crop: float = 0.0
    color_jitter: float = 0.0
    mixup: float = 0.0

    def draw_maps(self, pictures: int, size: int, epoch: int) -> np.ndarray:
        """Draw an affine map for each picture of a split.

        Returns:
            float64 [pictures, 2, 3], from places x, y in the result to places in the picture.
        """
        rng = self._rng(epoch, WARP)
        angle = 2 * np.pi * rng.uniform(-self.rotation, self.rotation, pictures)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        mirrored = rng.random((2, 1, pictures)) < 0.5
        allowed = np.reshape(["horizontal" in self.flip, "vertical" in self.flip], (2, 1, 1))
        linear = np.where(mirrored & allowed, -turn, turn)
        centre = (size - 1) / 2  # which stays where it is
        offset = centre - linear.sum(axis=1, keepdims=True) * centre
        rng = self._rng(epoch, CROP)
        side = 1 - self.random_crop * rng.random(pictures)
        corner = rng.random((2, pictures)) * (1 - side) * (size - 1)
        offset = offset + np.einsum("ijn,jn->in", linear, corner)[:, None]
        return np.concatenate([linear * side, offset], axis=1).transpose(2, 0, 1)

    def draw_colors(self, pictures: int, epoch: int) -> np.ndarray:
        """Draw factors of brightness, contrast and saturation, float64 [pictures, 3]."""
        return 1 + self.color_jitter * self._rng(epoch, COLOR).uniform(-1, 1, (pictures, 3))

    def draw_mixtures(self, pictures: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw for each picture the place of another one, int [pictures], and its own share,
        float64 [pictures]."""
        rng = self._rng(epoch, MIXUP)
        return rng.permutation(pictures), rng.beta(self.mixup, self.mixup, pictures)

    def _rng(self, epoch: int, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch, stream])


def build_augmentation(params: Params) -> Augmentation:
    """Return the augmentation that the parameters ask for."""
    return Augmentation(
        params.seed,
        params.flip,
        params.rotation,
        params.random_crop,
        params.color_jitter,
        params.mixup,
    )


def warp(pixels: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Apply a map to each picture: bilinear, reflected at the border, rounded to whole pixels.

    Args:
        pixels: uint8 [B, H, W, 3].
        maps: float64 [B, 2, 3].

    Returns:
        uint8 [B, H, W, 3].
    """

    def fill(picture: np.ndarray, matrix: np.ndarray, result: np.ndarray) -> None:
        cv2.warpAffine(
            picture,
            matrix,
            picture.shape[1::-1],
            dst=result,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )

    return _each(fill, pixels, maps)


def jitter(pixels: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Change brightness, then contrast about the picture's mean grey, then saturation.

    Args:
        pixels: uint8 [B, H, W, 3].
        factors: float64 [B, 3]: 1 is no change.

    Returns:
        uint8 [B, H, W, 3].
    """

    def fill(picture: np.ndarray, factors: np.ndarray, result: np.ndarray) -> None:
        brightness, contrast, saturation = factors
        grey = brightness * (GREY @ cv2.mean(picture)[:3])
        # Of x: saturation * x + (1 - saturation) * grey of x, where x is contrast * brightness *
        # pixel + (1 - contrast) * grey, and that grey stays what it is.
        matrix = contrast * brightness * (saturation * np.eye(3) + (1 - saturation) * GREY)
        cv2.transform(picture, np.c_[matrix, np.full(3, (1 - contrast) * grey)], dst=result)

    return _each(fill, pixels, factors)


def _each(fill: Callable, pixels: np.ndarray, *arguments: np.ndarray) -> np.ndarray:
    """Return an array like `pixels` that `fill` has filled, picture by picture."""
    results = np.empty_like(pixels)
    list(_POOL.map(fill, pixels, *arguments, results))
    return results


def augmented_pixels(split: Split, augmentation: Augmentation) -> Reader:
    """Return the source of a split's pixels, uint8 [B, H, W, 3], as an epoch shows them."""
    read, pictures = plain_pixels(split), len(split.rows)
    draw_maps, draw_colors, draw_mixtures = (
        lru_cache(maxsize=1)(draw)
        for draw in (augmentation.draw_maps, augmentation.draw_colors, augmentation.draw_mixtures)
    )

    def read_augmented(places: np.ndarray, epoch: int) -> np.ndarray:
        (pixels,) = read(places, epoch)
        pixels = warp(pixels, draw_maps(pictures, pixels.shape[1], epoch)[places])
        if augmentation.color_jitter:
            pixels = jitter(pixels, draw_colors(pictures, epoch)[places])
        return pixels

    def read_mixed(places: np.ndarray, epoch: int) -> tuple[np.ndarray]:
        pixels = read_augmented(places, epoch)
        if augmentation.mixup:
            others, shares = (drawn[places] for drawn in draw_mixtures(pictures, epoch))
            mixed = mix(pixels, read_augmented(others, epoch), shares)
            pixels = np.rint(mixed).astype(np.uint8)
        return (pixels,)

    return read_mixed


def mix(own: np.ndarray, others: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return shares * own + (1 - shares) * others, row by row.

    Args:
        own, others: [B, …].
        shares: float [B].
    """
    shares = shares.reshape(-1, *[1] * (own.ndim - 1))
    return shares * own + (1 - shares) * others
