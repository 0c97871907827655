"""Compile a classifier's frozen layers into functions from pixels to features."""

from collections.abc import Callable

import numpy as np

from transfer.core.parallel import CORES, map_in_threads
from transfer.core.runtime import keras, tf
from transfer.data.dataset import StoredArray
from transfer.models.folding import fold
from transfer.models.frozen import Inference, compile_inference

BATCH_SIZE = 32  # each core has one batch


def pooled_base(classifier: keras.Model, precision: str) -> keras.Model:
    """Return the folded base of a classifier with the pooling that its head starts with.

    Args:
        classifier: Made by `build_classifier`.
        precision: As for `fold`.

    Returns:
        A model from preprocessed pixels, float32 [N, H, W, 3], to pooled features, [N, C].
    """
    base = fold(classifier.get_layer("base"), precision)
    pooling = classifier.get_layer("head").layers[0]
    pooling = type(pooling).from_config(pooling.get_config())
    return keras.Model(base.input, pooling(base.output))


def extract_from_pixels(frozen: keras.Model, preprocessing: keras.layers.Layer) -> Inference:
    """Compile a function from uint8 pixels to the outputs of frozen layers.

    Args:
        frozen: From preprocessed pixels, float32 [N, H, W, 3], to a list of tensors.
        preprocessing: The classifier's layer of that name.
    """

    def extract(pixels: tf.Tensor) -> list[tf.Tensor]:
        return frozen(preprocessing(tf.cast(pixels, tf.float32)), training=False)

    return compile_inference(extract, [tf.TensorSpec(frozen.input_shape, tf.uint8)])


def extract_from_tensors(frozen: keras.Model) -> Inference:
    """Compile a function from the inputs of frozen layers, float32, to their outputs.

    Args:
        frozen: From a list of tensors to a list of tensors.
    """

    def extract(*tensors: tf.Tensor) -> list[tf.Tensor]:
        return frozen(list(tensors), training=False)

    return compile_inference(extract, [tf.TensorSpec(t.shape, tf.float32) for t in frozen.inputs])


def extract_rows(
    extract: Callable[[np.ndarray], np.ndarray], images: StoredArray, rows: np.ndarray
) -> np.ndarray:
    """Return the features of some images, float32 [N, D].

    Args:
        extract: From uint8 pixels [B, H, W, 3] to features, float32 [B, D].
        images: uint8 [M, H, W, 3].
        rows: Indices into `images`, int [N], at least one.
    """
    batches = np.split(rows, range(BATCH_SIZE, len(rows), BATCH_SIZE))
    features = map_in_threads(lambda batch: extract(images[batch]), batches, 2 * CORES)
    return np.concatenate(list(features))
