"""Compile a classifier's frozen layers into functions from pixels to features."""

from transfer.core.runtime import keras, tf
from transfer.models.folding import fold
from transfer.models.frozen import Inference, compile_inference


def pooled_base(classifier: keras.Model, precision: str) -> keras.Model:
    """Return the folded base with the pooling that the head starts with."""
    base = fold(classifier.get_layer("base"), precision)
    pooling = classifier.get_layer("head").layers[0]
    pooling = type(pooling).from_config(pooling.get_config())
    return keras.Model(base.input, pooling(base.output))


def extract_from_pixels(frozen: keras.Model, preprocessing: keras.layers.Layer) -> Inference:
    """Compile a function from uint8 pixels to what `frozen` makes of them."""

    def extract(pixels: tf.Tensor):
        return frozen(preprocessing(tf.cast(pixels, tf.float32)), training=False)

    return compile_inference(extract, [tf.TensorSpec(frozen.input_shape, tf.uint8)])


def extract_from_tensors(frozen: keras.Model) -> Inference:
    """Compile a function from the inputs of `frozen` to its outputs."""

    def extract(*tensors: tf.Tensor):
        return frozen(list(tensors), training=False)

    return compile_inference(extract, [tf.TensorSpec(t.shape, tf.float32) for t in frozen.inputs])
