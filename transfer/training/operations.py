"""The operations that an augmentation is made of.

Each draws its values for all images of an epoch from a random stream of its own, so that switching
one on or off leaves the others as they were. A new one is a class here, `Geometric` or
`Photometric`, with an unused stream, and an entry in `build_augmentation`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

cv2.setNumThreads(1)  # the images of a batch are distributed over threads instead
_POOL = ThreadPoolExecutor()
GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
MIXUP_STREAM = 4  # no operation has it


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

        return each_image(fill, pixels, drawn)


@dataclass(frozen=True)
class RandomErasing(Photometric):
    """Fill a random rectangle with random colours (Zhong et al., 2020).

    amount: Probability that an image loses one.
    """

    amount: float = 0.0
    stream = 5
    areas = (0.02, 0.4)  # fractions of the image's, the paper's
    ratio = 0.3  # of the shorter side to the longer one at least, the paper's

    def draw(self, rng: np.random.Generator, image_count: int) -> np.ndarray:
        """Draw rectangles and seeds of their colours.

        Returns:
            float64 [image_count, 5]: height and width, and upper and left edge as fractions of
            what is free, both 0 for an image that is left whole; and a seed.
        """
        chosen = rng.random(image_count) < self.amount
        area = rng.uniform(*self.areas, image_count)
        ratio = np.exp(rng.uniform(np.log(self.ratio), -np.log(self.ratio), image_count))
        sides = np.minimum(np.sqrt([area * ratio, area / ratio]), 1) * chosen
        seeds = rng.integers(2**31, size=image_count)
        return np.column_stack([*sides, *rng.random((2, image_count)), seeds])

    def apply(self, pixels: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """Fill the rectangles; see `Photometric.apply`."""
        results = pixels.copy()
        size = np.array(pixels.shape[1:3])
        for image, (*values, seed) in zip(results, drawn, strict=True):
            sides = np.rint(np.array(values[:2]) * size).astype(int)
            top, left = np.rint(np.array(values[2:]) * (size - sides)).astype(int)
            box = image[top : top + sides[0], left : left + sides[1]]
            box[:] = np.random.default_rng(int(seed)).integers(0, 256, box.shape, np.uint8)
        return results


def each_image(fill: Callable, pixels: np.ndarray, *arguments: np.ndarray) -> np.ndarray:
    """Return the images that `fill` makes, in threads, of `pixels` and rows of the arguments."""
    results = np.empty_like(pixels)
    list(_POOL.map(fill, pixels, *arguments, results))
    return results
