"""Where in an image a classifier sees a class: Grad-CAM."""

import numpy as np

from transfer.core.runtime import keras, tf

RED = np.array([235, 60, 40])
MAX_OPACITY = 0.6  # of the red, so that the image shows through


def grad_cam(classifier: keras.Model, pixels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return how strongly each part of an image supports a class (Selvaraju et al., 2017).

    Args:
        classifier: With the layers `preprocessing`, `base` and `head`.
        pixels: uint8 [N, H, W, 3].
        classes: int [N], the class to explain for each image.

    Returns:
        float32 [N, H, W] from 0 to 1, where 1 is the strongest support in the image; all 0 if
        nothing supports the class.
    """
    layers = [classifier.get_layer(name) for name in ("preprocessing", "base", "head")]
    preprocessing, base, head = layers
    features = base(preprocessing(pixels), training=False)
    with tf.GradientTape() as tape:
        tape.watch(features)
        logits = head(features, training=False)
        if logits.shape[1] == 1:  # the logit of the second class; that of the first is its negative
            logits = keras.ops.concatenate([-logits, logits], axis=1)
        scores = tf.gather(logits, classes, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(scores, features), axis=(1, 2), keepdims=True)
    maps = tf.nn.relu(tf.reduce_sum(weights * features, axis=3, keepdims=True))
    maps = tf.image.resize(maps, pixels.shape[1:3])[..., 0].numpy()
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
