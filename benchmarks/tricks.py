"""Measure each trick alone, in milliseconds per image, including some that are not used.

OpenVINO is measured if it is installed: pip install openvino.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks import report
from benchmarks.common import in_turn, measure, save_results
from scripts.project import PROJECT, temporary_copy

FORWARD = "--forward"
BATCH = 32  # images
ROUNDS = 15
MATRIX = 2048  # rows and columns


def main() -> None:
    if FORWARD in sys.argv:
        print(json.dumps(forward(Path(sys.argv[-1]))))
        return
    with temporary_copy(recipe="tutorial") as folder:
        for stage in ("download", "split"):
            measure([sys.executable, "-m", f"stages.{stage}"], folder)
        tricks = {
            "onednn": forward_in_a_process(folder, TF_ENABLE_ONEDNN_OPTS="1"),
            "no_onednn": forward_in_a_process(folder, TF_ENABLE_ONEDNN_OPTS="0"),
            "input": inputs(folder),
        }
    fastest = tricks["onednn"]["ms"]["folded, ONNX Runtime (used)"]
    report.write(
        save_results(
            {"forward_fraction_of_peak": tricks["onednn"]["floor"] / fastest, "tricks": tricks}
        )
    )


def forward_in_a_process(folder: Path, **environment: str) -> dict:
    """Measure in another process, since oneDNN is switched when TensorFlow is loaded."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.tricks", FORWARD, folder],
        cwd=PROJECT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    return json.loads(done.stdout.splitlines()[-1])


def frozen_classifier(folder: Path):
    """Return the tutorial's classifier before any training."""
    from transfer.models.backbones import build_base
    from transfer.models.classifier import build_classifier

    base = build_base("MobileNetV2", 160)
    base.load_weights(folder / "models/base.weights.h5")
    return build_classifier(base, "MobileNetV2", 2, 0.2, 0)


def forward(folder: Path) -> dict:
    """Return the ms per image of the frozen base in each runtime, and the floor."""
    from transfer.core.parallel import CORES
    from transfer.core.runtime import keras, tf
    from transfer.data.dataset import load_split
    from transfer.models.classifier import unfreeze
    from transfer.models.features import extract_from_pixels, pooled_base
    from transfer.models.folding import between, frontier

    classifier = frozen_classifier(folder)
    base, preprocessing = map(classifier.get_layer, ("base", "preprocessing"))
    pixels = load_split(folder / "data/split", "train").images[np.arange(CORES * BATCH)]
    batches = np.split(pixels, CORES)
    pool = ThreadPoolExecutor(CORES)

    def everywhere(function):
        return lambda: list(pool.map(function, batches))

    def one_by_one(model):
        function = tf.function(
            lambda batch: model(preprocessing(tf.cast(batch, tf.float32)), training=False),
            input_signature=[tf.TensorSpec(base.input_shape, tf.uint8)],
        )
        return lambda: [keras.tree.flatten(function(batch))[-1].numpy() for batch in batches]

    folded = pooled_base(classifier, "float32")
    functions = {
        "plain Keras": one_by_one(base),
        "folded, TensorFlow": one_by_one(folded),
        "folded, ONNX Runtime (used)": everywhere(extract_from_pixels(folded, preprocessing)),
    }
    if vino := openvino(folded, preprocessing):
        functions["folded, OpenVINO"] = lambda: [vino(batch) for batch in batches]
    unfreeze(base, 100)
    lower = between(folded.inputs, frontier(folded))
    functions |= {
        "layers below 100: folded, TensorFlow": one_by_one(lower),
        "layers below 100: folded, ONNX Runtime (used)": everywhere(
            extract_from_pixels(lower, preprocessing)
        ),
    }
    matrix = tf.random.uniform((MATRIX, MATRIX))
    functions["matrix product"] = lambda: tf.linalg.matmul(matrix, matrix).numpy()
    seconds = in_turn(functions, ROUNDS)
    flops = 2 * MATRIX**3 / seconds.pop("matrix product")
    return {
        "gflops": flops / 1e9,
        "floor": 1000 * operations(base.layers) / flops,
        "ms": {name: 1000 * value / len(pixels) for name, value in seconds.items()},
    }


def operations(layers: list) -> int:
    """Return the floating-point operations that convolutions need for one image."""
    return sum(
        2 * int(np.prod(layer.output.shape[1:3])) * int(np.prod(layer.kernel.shape))
        for layer in layers
        if hasattr(layer, "kernel")
    )


def matrix_rate() -> float:
    """Return the floating-point operations per second of a matrix product on all cores."""
    from transfer.core.runtime import tf

    matrix = tf.random.uniform((MATRIX, MATRIX))
    seconds = in_turn({"product": lambda: tf.linalg.matmul(matrix, matrix).numpy()}, ROUNDS)
    return 2 * MATRIX**3 / seconds["product"]


def openvino(folded, preprocessing):
    """Return a function that runs the folded base in OpenVINO, or None if it is not installed."""
    try:
        import openvino
    except ImportError:
        return None
    from transfer.core.runtime import tf

    function = tf.function(lambda pixels: folded(preprocessing(tf.cast(pixels, tf.float32))))
    model = openvino.convert_model(
        function.get_concrete_function(tf.TensorSpec(folded.input_shape, tf.uint8))
    )
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
    return lambda batch: request.infer([batch])[0]


def inputs(folder: Path) -> dict:
    """Return the ms per image of several ways to read and to augment pixels."""
    from transfer.core.files import list_files
    from transfer.core.runtime import keras, tf
    from transfer.data.dataset import load_split
    from transfer.preprocessing.decoding import decode_image
    from transfer.training.augmentation import Augmentation, warp
    from transfer.training.operations import ColorJitter, FlipAndRotate

    images = load_split(folder / "data/split", "train").images[np.arange(BATCH)]
    files = [folder / "data/raw" / name for name in list_files(folder / "data/raw")][:BATCH]
    jitter = ColorJitter(0.2)
    augmentation = Augmentation(0, (FlipAndRotate("horizontal", 0.2),), (jitter,))
    maps, colors = augmentation.draw_maps(BATCH, 160, 1), augmentation.draw_values(jitter, BATCH, 1)
    layers = [keras.layers.RandomFlip("horizontal"), keras.layers.RandomRotation(0.2)]
    model = keras.Sequential(layers)
    augment = tf.function(lambda pixels: model(pixels, training=True))
    pixels = np.array(images[:BATCH])
    floats = tf.constant(pixels, tf.float32)
    pool = ThreadPoolExecutor()
    rows = np.random.default_rng(0).permutation(len(images))[:BATCH]
    seconds = in_turn(
        {
            "decode and resize a JPEG": lambda: list(
                pool.map(lambda file: decode_image(file, 160, True), files)
            ),
            "read stored pixels (used)": lambda: images[rows],
            "augment, Keras' layers": lambda: augment(floats).numpy(),
            "augment, OpenCV (used)": lambda: warp(pixels, maps),
            "color_jitter (used if asked for)": lambda: jitter.apply(pixels, colors),
        },
        ROUNDS,
    )
    return {name: 1000 * value / BATCH for name, value in seconds.items()}


if __name__ == "__main__":
    main()
