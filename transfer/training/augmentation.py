"""Random changes of the training images.

What happens to an image is a function of the seed, the epoch and the image's index in its split;
batches, threads and earlier epochs have no part in it.

An augmentation is a list of operations. Each draws its values for all images of an epoch from a
random stream of its own, so that switching one on or off leaves the others as they were. A new one
needs a class here (a `Geometric` or a `Photometric` one, with an unused stream), an entry in
`build_augmentation`, and a parameter in params.yaml, transfer/core/params.py and dvc.yaml.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import cv2
import numpy as np

from transfer.core.params import Params
from transfer.data.dataset import Reader, Split, plain_pixels

cv2.setNumThreads(1)  # the images of a batch are distributed over threads instead
_POOL = ThreadPoolExecutor()
GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
MIXUP_STREAM = 4  # as the `stream` of an operation


class Geometric(ABC):
    """An operation that moves pixels. All of them make one map, so pixels are interpolated once.

    stream: Number of its random stream, which no other operation has; 0 is the shuffling's.
    """

    stream: ClassVar[int]

    @abstractmethod
    def draw(self, rng: np.random.Generator, image_count: int, size: int) -> np.ndarray:
        """Draw an affine map for each image of a split.

        Args:
            rng: The operation's random stream in this epoch.
            image_count: Images in the split.
            size: Width and height of the images, in pixels.

        Returns:
            float64 [2, 3, image_count], from positions x, y in the result to those in the image.
        """


class Photometric(ABC):
    """An operation that changes the values of pixels.

    amount: How strong it is; 0: switched off.
    stream: As for `Geometric`.
    """

    amount: float
    stream: ClassVar[int]

    @abstractmethod
    def draw(self, rng: np.random.Generator, image_count: int) -> np.ndarray:
        """Draw what happens to each image of a split, [image_count, …]; see `Geometric.draw`."""

    @abstractmethod
    def apply(self, pixels: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """Change some images.

        Args:
            pixels: uint8 [B, H, W, 3].
            drawn: [B, …], the rows of these images in what `draw` returned.

        Returns:
            uint8 [B, H, W, 3].
        """


@dataclass(frozen=True)
class FlipAndRotate(Geometric):
    """Flip and rotate about the centre, as Keras' RandomFlip and RandomRotation do.

    flip: none, horizontal, vertical or horizontal_and_vertical, each with probability 1/2.
    rotation: By up to this fraction of a full turn, either way.
    """

    flip: str = "none"
    rotation: float = 0.0
    stream = 1

    def draw(self, rng: np.random.Generator, image_count: int, size: int) -> np.ndarray:
        """Draw angles, then whether to flip; see `Geometric.draw`."""
        angle = 2 * np.pi * rng.uniform(-self.rotation, self.rotation, image_count)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        flipped = rng.random((2, 1, image_count)) < 0.5
        allowed = np.reshape(["horizontal" in self.flip, "vertical" in self.flip], (2, 1, 1))
        linear = np.where(flipped & allowed, -turn, turn)
        centre = (size - 1) / 2  # stays where it is
        offset = centre - linear.sum(axis=1, keepdims=True) * centre
        return np.concatenate([linear, offset], axis=1)


@dataclass(frozen=True)
class RandomResizedCrop(Geometric):
    """Cut off up to a fraction of the side, at a random position, and resize the rest.

    fraction: Of the side, at most; below 1.
    """

    fraction: float = 0.0
    stream = 2

    def draw(self, rng: np.random.Generator, image_count: int, size: int) -> np.ndarray:
        """Draw the sides that are left, then their upper left corners; see `Geometric.draw`."""
        side = 1 - self.fraction * rng.random(image_count)
        x, y = rng.random((2, image_count)) * (1 - side) * (size - 1)
        zero = np.zeros(image_count)
        return np.array([[side, zero, x], [zero, side, y]])


@dataclass(frozen=True)
class ColorJitter(Photometric):
    """Change brightness, contrast and saturation by up to a fraction, each.

    amount: That fraction, from 0 to 1.
    """

    amount: float = 0.0
    stream = 3

    def draw(self, rng: np.random.Generator, image_count: int) -> np.ndarray:
        """Draw factors of brightness, contrast and saturation, float64 [image_count, 3]."""
        return 1 + self.amount * rng.uniform(-1, 1, (image_count, 3))

    def apply(self, pixels: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """Change brightness, then contrast about the image's mean grey level, then saturation."""

        def fill(image: np.ndarray, factors: np.ndarray, result: np.ndarray) -> None:
            brightness, contrast, saturation = factors
            grey = brightness * (GREY @ cv2.mean(image)[:3])
            # The result is saturation * x + (1 - saturation) * grey of x, where x is contrast *
            # brightness * pixel + (1 - contrast) * grey; saturation leaves that constant as it is.
            matrix = contrast * brightness * (saturation * np.eye(3) + (1 - saturation) * GREY)
            cv2.transform(image, np.c_[matrix, np.full(3, (1 - contrast) * grey)], dst=result)

        return _each(fill, pixels, drawn)


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
        photometric=(ColorJitter(params.color_jitter),),
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

    return _each(fill, pixels, maps)


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


def _each(fill: Callable, pixels: np.ndarray, *arguments: np.ndarray) -> np.ndarray:
    """Return the images that `fill` makes, in threads, of `pixels` and rows of the arguments."""
    results = np.empty_like(pixels)
    list(_POOL.map(fill, pixels, *arguments, results))
    return results
