"""Where in a picture a classifier sees what it says: Grad-CAM."""

import numpy as np

from transfer.core.runtime import keras, tf


def grad_cam(classifier: keras.Model, pixels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return how much each place of a picture speaks for a class (Selvaraju et al., 2017).

    Args:
        pixels: uint8 [N, H, W, 3].
        classes: int [N], the class to explain for each picture.

    Returns:
        float32 [N, H, W] from 0 to 1, where 1 is the strongest place; all 0 where nothing does.
    """
    parts = [classifier.get_layer(name) for name in ("preprocessing", "base", "head")]
    preprocessing, base, head = parts
    features = base(preprocessing(pixels), training=False)
    with tf.GradientTape() as tape:
        tape.watch(features)
        logits = head(features, training=False)
        if logits.shape[1] == 1:  # the second class's; the first one's is its opposite
            logits = keras.ops.concatenate([-logits, logits], axis=1)
        scores = tf.gather(logits, classes, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(scores, features), axis=(1, 2), keepdims=True)
    maps = tf.nn.relu(tf.reduce_sum(weights * features, axis=3, keepdims=True))
    maps = tf.image.resize(maps, pixels.shape[1:3])[..., 0].numpy()
    strongest = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, strongest, out=np.zeros_like(maps), where=strongest > 0)


def overlay(pixels: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Lay the maps of `grad_cam` over pictures, red where a class is seen.

    Args:
        pixels: uint8 [N, H, W, 3].
        maps: float [N, H, W] from 0 to 1.

    Returns:
        uint8 [N, H, W, 3].
    """
    grey = pixels.mean(axis=3, keepdims=True)
    share = 0.6 * maps[..., None]
    dimmed = 0.5 * pixels + 0.5 * grey
    return np.uint8((1 - share) * dimmed + share * np.array([235, 60, 40]))
