"""Where in an image a classifier sees a class: Grad-CAM."""

import cv2
import numpy as np

from transfer.models.compiled import CompiledClassifier

RED = np.array([235, 60, 40])
MAX_OPACITY = 0.6  # of the red, so that the image shows through


def grad_cam(classifier: CompiledClassifier, pixels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return how strongly each part of an image supports a class (Selvaraju et al., 2017).

    The head averages the feature maps and has one dense layer, so the gradients are the weights of
    that layer, as in CAM (Zhou et al., 2016).

    Args:
        classifier: The model.
        pixels: uint8 [N, H, W, 3].
        classes: int [N], the class to explain for each image.

    Returns:
        float32 [N, H, W] from 0 to 1, where 1 is the strongest support in the image; all 0 if
        nothing supports the class.
    """
    _, features = classifier.base(pixels)
    kernel = classifier.kernel
    if kernel.shape[1] == 1:  # the logit of the second class; that of the first is its negative
        kernel = np.hstack([-kernel, kernel])
    support = np.einsum("nhwd,dn->nhw", features, kernel[:, classes]).clip(0)
    maps = np.stack([cv2.resize(one, pixels.shape[2:0:-1]) for one in support])
    strongest = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, strongest, out=np.zeros_like(maps), where=strongest > 0)


def overlay(pixels: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Blend the maps of `grad_cam` with dimmed images: red where the class is seen.

    Args:
        pixels: uint8 [N, H, W, 3].
        maps: float [N, H, W] from 0 to 1.

    Returns:
        uint8 [N, H, W, 3].
    """
    grey = pixels.mean(axis=3, keepdims=True)
    opacity = MAX_OPACITY * maps[..., None]
    dimmed = 0.5 * pixels + 0.5 * grey
    return np.uint8((1 - opacity) * dimmed + opacity * RED)
