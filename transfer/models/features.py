"""Compile a classifier's frozen layers into functions from pixels to features."""

from transfer.core.runtime import keras, tf
from transfer.models.folding import fold
from transfer.models.frozen import compile_inference
from transfer.models.inference import Inference


def pooled_base(classifier: keras.Model, precision: str, to_train: bool = False) -> keras.Model:
    """Return the folded base of a classifier with the pooling that its head starts with.

    Args:
        classifier: Made by `build_classifier`.
        precision: As for `fold`.
        to_train: As for `fold`.

    Returns:
        A model from preprocessed pixels, float32 [N, H, W, 3], to pooled features, [N, D].
    """
    base = fold(classifier.get_layer("base"), precision, to_train)
    return keras.Model(base.input, _pooling(classifier)(base.output))


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


def compile_base(classifier: keras.Model) -> Inference:
    """Compile the whole base of a classifier, its BatchNormalization folded.

    Args:
        classifier: Made by `build_classifier`; its weights are those that it has now.

    Returns:
        A function from pixels, uint8 [N, H, W, 3], to the pooled features, float32 [N, D], and the
        feature maps, float32 [N, h, w, D].
    """
    base = fold(classifier.get_layer("base"))
    pooled = keras.Model(base.input, [_pooling(classifier)(base.output), base.output])
    return extract_from_pixels(pooled, classifier.get_layer("preprocessing"))


def _pooling(classifier: keras.Model) -> keras.layers.Layer:
    """Return a copy of the pooling that the head of a classifier starts with."""
    pooling = classifier.get_layer("head").layers[0]
    return type(pooling).from_config(pooling.get_config())
