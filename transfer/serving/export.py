"""Export a classifier to files that need neither Keras nor this project: SavedModel, LiteRT, ONNX.

All of them take `pixels`, uint8 [N, H, W, 3] for any N, as the Keras model does, and return
`probabilities`, float32 [N, classes].
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx

from transfer.core.parallel import CORES
from transfer.core.runtime import keras, tf
from transfer.evaluation.prediction import to_probabilities
from transfer.models.folding import fold
from transfer.models.frozen import to_onnx
from transfer.serving.engine import DESCRIPTION, PIXELS, PROBABILITIES, Description

Predict = Callable[[np.ndarray], np.ndarray]  # from pixels to probabilities


def freeze(classifier: keras.Model) -> tf.types.experimental.PolymorphicFunction:
    """Return a function from pixels to probabilities that holds the weights as constants.

    Constants, because LiteRT's converter loses all variables that don't belong to a Keras model.
    Folded, because the converters don't know grouped convolutions.
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
    """Write a folder that `tf.saved_model.load` and TensorFlow Serving can read.

    Args:
        infer: What `freeze` returned.
        path: The folder to make.
    """
    module = tf.Module()
    module.infer = infer
    tf.saved_model.save(module, path, signatures=infer)
    (path / "fingerprint.pb").unlink()  # optional and random: equal models would differ by it


def write_litert(saved_model: Path, path: Path, calibration: np.ndarray | None = None) -> None:
    """Convert a SavedModel to a .tflite file.

    Args:
        saved_model: The folder that `write_saved_model` made.
        path: The file to write.
        calibration: Images, uint8 [M, H, W, 3], from which the converter measures the range of each
            tensor. With them, everything between pixels and probabilities is int8, the kernels
            with a scale per channel; without them, float32.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ({PIXELS: p[None]} for p in calibration)
    path.write_bytes(converter.convert())


def write_onnx(infer: Callable, path: Path, description: Description) -> None:
    """Convert a classifier to an .onnx file.

    Args:
        infer: What `freeze` returned.
        path: The file to write.
        description: Stored inside the file.
    """
    model = onnx.load_from_string(to_onnx(infer, infer.input_signature))
    text = json.dumps(asdict(description), ensure_ascii=False)
    onnx.helper.set_model_props(model, {DESCRIPTION: text})
    path.write_bytes(model.SerializeToString())


def open_keras(classifier: keras.Model) -> Predict:
    """Return the prediction function of Keras itself, with which the exports are compared."""
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
