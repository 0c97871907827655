import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from transfer.core.runtime import tf
from transfer.models import frozen
from transfer.models.frozen import compile_inference

RNG = np.random.default_rng(0)
KERNEL = tf.Variable(RNG.normal(size=(3, 3, 3, 8)).astype(np.float32))
MEAN = tf.constant(RNG.normal(size=(1, 1, 1, 8)).astype(np.float32))
IMAGES = tf.TensorSpec([None, 8, 8, 3], tf.float32)


def convolve(x):
    return tf.nn.relu(tf.nn.conv2d(x, KERNEL, 2, "SAME"))


def hard_sigmoid(x):
    """Add a number to a convolution, as MobileNetV3 does; one step of tf2onnx fails at that."""
    return tf.nn.relu6(tf.nn.conv2d(x, KERNEL, 2, "SAME") + 3.0) / 6


def normalize(x):
    """Use a captured tensor, as the first layers of EfficientNet do."""
    return (tf.nn.conv2d(x, KERNEL, 2, "SAME") - MEAN) / 2


def gelu(x):
    return tf.nn.gelu(convolve(x) - 1)


def several(x, y, pixels):
    return [convolve(x) - 2 * convolve(y), tf.cast(pixels, tf.float32) / 255 + tf.reduce_mean(x)]


def mixed(*tensors):
    """Depend on the order of twelve arguments, whose names sort in another order."""
    return tf.add_n([factor * tensor for factor, tensor in enumerate(tensors)])


def images(n):
    return RNG.normal(size=(n, 8, 8, 3)).astype(np.float32)


def in_python(x):
    return tf.ensure_shape(tf.numpy_function(lambda array: array * 2, [x], tf.float32), x.shape)


@pytest.fixture(params=["onnxruntime", "tensorflow"])
def runtime(request, monkeypatch):
    monkeypatch.setattr(frozen, "FROZEN_RUNTIME", request.param)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (convolve, [images(7)]),
        (hard_sigmoid, [images(7)]),
        (normalize, [images(7)]),
        (gelu, [images(7)]),
        (mixed, [images(7) for _ in range(12)]),
    ],
)
def test_compiled_functions_compute_the_same(runtime, capfd, function, arguments):
    (found,) = compile_inference(function, [IMAGES] * len(arguments))(*arguments)
    np.testing.assert_allclose(found, function(*arguments), atol=1e-5)
    assert capfd.readouterr().err == ""


def test_several_inputs_and_outputs_keep_their_order(runtime, capfd):
    x, y = images(1), images(1)
    pixels = RNG.integers(0, 256, (1, 5), np.uint8)
    signature = [IMAGES, IMAGES, tf.TensorSpec([None, 5], tf.uint8)]
    first, second = compile_inference(several, signature)(x, y, pixels)
    for found, expected in zip((first, second), several(x, y, pixels), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert capfd.readouterr().err == ""


@pytest.fixture
def onnxruntime(monkeypatch):
    monkeypatch.setattr(frozen, "FROZEN_RUNTIME", "onnxruntime")


def test_results_are_the_same_to_the_bit_for_any_batch_size_and_in_threads(onnxruntime):
    infer, arrays = compile_inference(convolve, [IMAGES]), images(11)
    (expected,) = infer(arrays)
    for size in (1, 3, 4, 5):
        batches = [arrays[i : i + size] for i in range(0, 11, size)]
        np.testing.assert_array_equal(np.concatenate([infer(b)[0] for b in batches]), expected)
        with ThreadPoolExecutor(4) as pool:
            for _ in range(10):
                found = np.concatenate([result[0] for result in pool.map(infer, batches)])
                np.testing.assert_array_equal(found, expected)


def test_what_cannot_be_converted_runs_in_tensorflow_and_a_line_says_so(onnxruntime, capfd):
    arrays = images(5)
    (found,) = compile_inference(in_python, [IMAGES])(arrays)
    np.testing.assert_array_equal(found, arrays * 2)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(
        "the frozen layers run in TensorFlow, since ONNX Runtime can't run them: "
    )


def test_without_onnx_runtime_tensorflow_runs_it(onnxruntime, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    arrays = images(5)
    (found,) = compile_inference(convolve, [IMAGES])(arrays)
    np.testing.assert_allclose(found, convolve(arrays), atol=1e-6)
    (line,) = capfd.readouterr().err.splitlines()
    assert "ONNX Runtime can't run them: import of onnxruntime halted" in line
