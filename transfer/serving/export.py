"""A classifier as files that need neither Keras nor this project: SavedModel, LiteRT and ONNX.

All take what the Keras model takes, `pixels`, uint8 [N, H, W, 3] for any N, and give
`probabilities`, float32 [N, classes].
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from transfer.core.parallel import CORES
from transfer.core.runtime import keras, tf
from transfer.evaluation.prediction import to_probabilities
from transfer.models.folding import fold
from transfer.models.frozen import to_onnx

PIXELS, PROBABILITIES = "pixels", "probabilities"
Predict = Callable[[np.ndarray], np.ndarray]  # from pixels to probabilities


def freeze(classifier: keras.Model) -> tf.types.experimental.PolymorphicFunction:
    """Return a function of pixels that holds the classifier's weights as constants.

    It is folded, for the converters know no grouped convolutions; with variables that are not a
    Keras model's LiteRT's loses them all.
    """
    preprocessing, base, head = (classifier.get_layer(n) for n in ("preprocessing", "base", "head"))
    inputs = keras.Input(classifier.input_shape[1:], dtype="uint8")
    folded = keras.Model(inputs, head(fold(base)(preprocessing(inputs))))
    weights = [
        [variable.numpy() for variable in variables]
        for variables in (folded.trainable_variables, folded.non_trainable_variables)
    ]

    def infer(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        logits, _ = folded.stateless_call(*weights, pixels, training=False)
        if logits.shape[1] > 1:
            return {PROBABILITIES: tf.nn.softmax(logits)}
        second = tf.sigmoid(logits)
        return {PROBABILITIES: tf.concat([1 - second, second], axis=1)}

    signature = [tf.TensorSpec(classifier.input_shape, tf.uint8, PIXELS)]
    return tf.function(infer, input_signature=signature, autograph=False)


def write_saved_model(infer: Callable, path: Path) -> None:
    """Write a folder that `tf.saved_model.load` and TensorFlow Serving read."""
    module = tf.Module()
    module.infer = infer
    tf.saved_model.save(module, path, signatures=infer)
    (path / "fingerprint.pb").unlink()  # optional, and random: without it equal models are equal


def write_litert(saved_model: Path, path: Path, calibration: np.ndarray | None = None) -> None:
    """Convert a SavedModel to a .tflite file.

    Args:
        calibration: Images, uint8 [M, H, W, 3], that show the range of each tensor; with these,
            all between the pixels and the probabilities is int8, the kernels channel by channel.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ({PIXELS: p[None]} for p in calibration)
    path.write_bytes(converter.convert())


def write_onnx(infer: Callable, path: Path) -> None:
    """Convert what `freeze` returned to an .onnx file."""
    path.write_bytes(to_onnx(infer, infer.input_signature))


def open_keras(classifier: keras.Model) -> Predict:
    """Return what Keras itself says, which the others are compared with."""
    return lambda pixels: to_probabilities(classifier.predict_on_batch(pixels))


def open_saved_model(path: Path) -> Predict:
    """Open a SavedModel in TensorFlow."""
    infer = tf.saved_model.load(path).signatures["serving_default"]
    return lambda pixels: infer(**{PIXELS: tf.constant(pixels)})[PROBABILITIES].numpy()


def open_litert(path: Path) -> Predict:
    """Open a .tflite file in LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    infer = Interpreter(str(path), num_threads=CORES).get_signature_runner()
    return lambda pixels: infer(**{PIXELS: pixels})[PROBABILITIES]


def open_onnx(path: Path) -> Predict:
    """Open an .onnx file in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run([PROBABILITIES], {PIXELS: pixels})[0]
