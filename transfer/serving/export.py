"""Export a classifier to files that need neither Keras nor this project: SavedModel, LiteRT, ONNX.

All of them take `pixels`, uint8 [N, H, W, 3] for any N, as the Keras model does, and return
`probabilities`, float32 [N, classes]. If the model can tell it, all but LiteRT in int8 also return
`familiarity`, float32 [N], which is larger for an image that is more familiar.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

from transfer.core.files import sha256
from transfer.core.parallel import CORES
from transfer.core.runtime import keras, tf
from transfer.models.compiled import to_probabilities
from transfer.models.description import read_description
from transfer.models.familiarity import Familiarity
from transfer.models.features import pooled_base
from transfer.models.frozen import to_onnx
from transfer.serving.engine import (
    DESCRIPTION,
    FAMILIARITY,
    PIXELS,
    PROBABILITIES,
    Description,
)

Predict = Callable[[np.ndarray], dict[str, np.ndarray]]  # from pixels to the outputs by name


def freeze(
    classifier: keras.Model, familiarity: Familiarity | None = None
) -> tf.types.experimental.PolymorphicFunction:
    """Return a function from pixels to the outputs by name that holds the weights as constants.

    Constants, because LiteRT's converter loses all variables that don't belong to a Keras model.
    Folded, because the converters don't know grouped convolutions.

    Args:
        classifier: Made by `build_classifier`.
        familiarity: Without it, the probabilities are the only output.
    """
    preprocessing, head = (classifier.get_layer(name) for name in ("preprocessing", "head"))
    inputs = keras.Input(classifier.input_shape[1:], dtype="uint8")
    features = pooled_base(classifier, "float32")(preprocessing(inputs))
    folded = keras.Model(inputs, [head.layers[-1](features), features])
    weights = [
        [variable.numpy() for variable in variables]
        for variables in (folded.trainable_variables, folded.non_trainable_variables)
    ]

    def infer(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        (logits, features), _ = folded.stateless_call(*weights, pixels, training=False)
        if logits.shape[1] > 1:
            probabilities = tf.nn.softmax(logits)
        else:
            second = tf.sigmoid(logits)
            probabilities = tf.concat([1 - second, second], axis=1)
        outputs = {PROBABILITIES: probabilities}
        if familiarity:
            outputs[FAMILIARITY] = familiarity.score(features, probabilities, keras.ops)
        return outputs

    signature = [tf.TensorSpec(classifier.input_shape, tf.uint8, PIXELS)]
    return tf.function(infer, input_signature=signature, autograph=False)


def describe(path: Path, version: str | None) -> Description:
    """Return what users of an export have to know.

    Args:
        path: Of the .keras file that is exported.
        version: Of the project.
    """
    known = read_description(path)
    return Description(
        known.classes,
        known.crop_to_aspect_ratio,
        model_sha256=sha256(path),
        version=version,
        familiar_from=known.familiar_from,
    )


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


def write_litert(infer: Callable, path: Path, calibration: np.ndarray | None = None) -> None:
    """Convert a classifier to a .tflite file.

    Args:
        infer: What `freeze` returned.
        path: The file to write.
        calibration: Images, uint8 [M, H, W, 3], from which the converter measures the range of each
            tensor. With them, everything between pixels and probabilities is int8, the kernels
            with a scale per channel; without them, float32.
    """
    with TemporaryDirectory() as folder:
        saved_model = Path(folder) / "saved_model"
        write_saved_model(infer, saved_model)
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


def add_features(classifier: keras.Model) -> keras.Model:
    """Return a model of the same layers that gives logits and the pooled features of the base."""
    preprocessing, base, head = (classifier.get_layer(n) for n in ("preprocessing", "base", "head"))
    inputs = keras.Input(classifier.input_shape[1:], dtype="uint8")
    maps = base(preprocessing(inputs), training=False)
    return keras.Model(inputs, [head(maps), head.layers[0](maps)])


def open_keras(classifier: keras.Model, familiarity: Familiarity | None = None) -> Predict:
    """Return the prediction function of Keras itself, with which the exports are compared."""
    with_features = add_features(classifier)

    def predict(pixels: np.ndarray) -> dict[str, np.ndarray]:
        logits, features = with_features.predict_on_batch(pixels)
        outputs = {PROBABILITIES: to_probabilities(logits)}
        if familiarity:
            outputs[FAMILIARITY] = familiarity.score(features, outputs[PROBABILITIES])
        return outputs

    return predict


def open_saved_model(path: Path) -> Predict:
    """Open a SavedModel in TensorFlow."""
    infer = tf.saved_model.load(path).signatures["serving_default"]

    def predict(pixels: np.ndarray) -> dict[str, np.ndarray]:
        outputs = infer(**{PIXELS: tf.constant(pixels)})
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    return predict


def open_litert(path: Path) -> Predict:
    """Open a .tflite file in LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    infer = Interpreter(str(path), num_threads=CORES).get_signature_runner()
    return lambda pixels: infer(**{PIXELS: pixels})


def open_onnx(path: Path) -> Predict:
    """Open an .onnx file in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda pixels: dict(zip(names, session.run(names, {PIXELS: pixels}), strict=True))
