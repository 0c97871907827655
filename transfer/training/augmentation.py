"""Random changes of the training images.

What happens to an image is a function of the seed, the epoch and the image's index in its split;
batches, threads and earlier epochs have no part in it.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from transfer.core.params import Params
from transfer.data.dataset import Reader, Split, plain_pixels
from transfer.training.operations import (
    MIXUP_STREAM,
    ColorJitter,
    FlipAndRotate,
    Geometric,
    Photometric,
    RandomErasing,
    RandomResizedCrop,
    each_image,
)


@dataclass(frozen=True)
class Augmentation:
    """What is done to the training images; by default nothing.

    seed: Of all random streams.
    geometric: Operations that move pixels, in this order, before all others.
    photometric: Operations that change the values of pixels, in this order.
    mixup: The alpha of mixup (Zhang et al., 2018), which comes last; 0: none.
    """

    seed: int
    geometric: tuple[Geometric, ...] = ()
    photometric: tuple[Photometric, ...] = ()
    mixup: float = 0.0

    def draw_maps(self, image_count: int, size: int, epoch: int) -> np.ndarray:
        """Draw the map that the geometric operations make together, for each image of a split.

        Args:
            image_count: Images in the split.
            size: Width and height of the images, in pixels.
            epoch: From 1.

        Returns:
            float64 [image_count, 2, 3], for `warp`.
        """
        linear = np.tile(np.eye(2)[..., None], image_count)
        offset = np.zeros((2, image_count))
        for operation in self.geometric:
            maps = operation.draw(self._rng(epoch, operation.stream), image_count, size)
            offset = offset + np.einsum("ijn,jn->in", linear, maps[:, 2])
            linear = np.einsum("ijn,jkn->ikn", linear, maps[:, :2])
        return np.concatenate([linear, offset[:, None]], axis=1).transpose(2, 0, 1)

    def draw_values(self, operation: Photometric, image_count: int, epoch: int) -> np.ndarray:
        """Draw what an operation does to each image of a split in an epoch, [image_count, …].

        Args:
            operation: Draws from its own random stream.
            image_count: Images in the split.
            epoch: From 1.
        """
        return operation.draw(self._rng(epoch, operation.stream), image_count)

    def draw_mixtures(self, image_count: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw what each image of a split is mixed with in an epoch, and its own fraction.

        Args:
            image_count: Images in the split.
            epoch: From 1.

        Returns:
            Indices of the other images, int [image_count], and fractions, float64 [image_count].
        """
        rng = self._rng(epoch, MIXUP_STREAM)
        return rng.permutation(image_count), rng.beta(self.mixup, self.mixup, image_count)

    def _rng(self, epoch: int, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch, stream])


def build_augmentation(params: Params) -> Augmentation:
    """Return the augmentation that the parameters ask for."""
    return Augmentation(
        params.seed,
        geometric=(
            FlipAndRotate(params.flip, params.rotation),
            RandomResizedCrop(params.random_resized_crop),
        ),
        photometric=(ColorJitter(params.color_jitter), RandomErasing(params.random_erasing)),
        mixup=params.mixup,
    )


def augmented_pixels(split: Split, augmentation: Augmentation) -> Reader:
    """Return a reader of a split's pixels, uint8 [B, H, W, 3], as an epoch shows them.

    Args:
        split: The training images.
        augmentation: What is done to them.
    """
    read, image_count = plain_pixels(split), len(split.rows)
    operations = [operation for operation in augmentation.photometric if operation.amount]
    draw_maps = lru_cache(maxsize=1)(augmentation.draw_maps)  # serves all batches of an epoch
    draw_values = lru_cache(maxsize=len(operations))(augmentation.draw_values)
    draw_mixtures = lru_cache(maxsize=1)(augmentation.draw_mixtures)

    def read_changed(indices: np.ndarray, epoch: int) -> np.ndarray:
        (pixels,) = read(indices, epoch)
        pixels = warp(pixels, draw_maps(image_count, pixels.shape[1], epoch)[indices])
        for operation in operations:
            pixels = operation.apply(pixels, draw_values(operation, image_count, epoch)[indices])
        return pixels

    def read_augmented(indices: np.ndarray, epoch: int) -> tuple[np.ndarray]:
        pixels = read_changed(indices, epoch)
        if augmentation.mixup:
            others, fractions = (drawn[indices] for drawn in draw_mixtures(image_count, epoch))
            mixed = mix(pixels, read_changed(others, epoch), fractions)
            pixels = np.rint(mixed).astype(np.uint8)
        return (pixels,)

    return read_augmented


def warp(pixels: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Apply a map to each image: bilinear, reflected at the border, rounded to whole numbers.

    Args:
        pixels: uint8 [B, H, W, 3].
        maps: float64 [B, 2, 3], from positions x, y in the result to those in the image.

    Returns:
        uint8 [B, H, W, 3].
    """

    def fill(image: np.ndarray, matrix: np.ndarray, result: np.ndarray) -> None:
        cv2.warpAffine(
            image,
            matrix,
            image.shape[1::-1],
            dst=result,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )

    return each_image(fill, pixels, maps)


def mix(own: np.ndarray, others: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Return fractions * own + (1 - fractions) * others, row by row.

    Args:
        own: [B, …].
        others: [B, …], the same shape.
        fractions: float [B].

    Returns:
        float64 [B, …].
    """
    fractions = fractions.reshape(-1, *[1] * (own.ndim - 1))
    return fractions * own + (1 - fractions) * others
