"""Run what is frozen, which needs no gradients, in the engine that does it fastest.

On a CPU that is ONNX Runtime (benchmarks/RESULTS.md compares engines); on a GPU, and where ONNX
Runtime is missing or can't, TensorFlow. The two agree to 1e-4, not to the bit.
"""

import gc
import logging
import os
import sys
from collections.abc import Callable
from functools import cache, partial
from types import ModuleType

import numpy as np

from transfer.core.runtime import CATCH_ERRORS, FROZEN_RUNTIME, keras, tf

Inference = Callable[..., list[np.ndarray]]
# Images at a time in ONNX Runtime: of 80x80x96 floats each, MobileNetV2's largest, 4 take 10 MB,
# which stay in the cache; the results are the same to the bit as with whole batches.
IN_CACHE = 4


def compile_inference(function: Callable, signature: list[tf.TensorSpec]) -> Inference:
    """Compile a function of tensors, whose variables keep the values that they have now.

    Args:
        function: Returns a tensor or a list of them.
        signature: Shape and dtype of each argument.
    """
    # AutoGraph has nothing to do here, and fails with a warning where it can't write its files.
    function = tf.function(function, input_signature=signature, autograph=False)
    if FROZEN_RUNTIME == "onnxruntime" and not tf.config.list_physical_devices("GPU"):
        try:
            return _in_onnx_runtime(function, signature)
        except ImportError as error:
            reason = error
        except Exception as error:  # each operation that it doesn't know raises something else
            reason = f"{type(error).__name__}: {error}"
        print(
            f"the frozen layers run in TensorFlow, for ONNX Runtime can't: {reason}",
            file=sys.stderr,
        )
    return lambda *arrays: [result.numpy() for result in keras.tree.flatten(function(*arrays))]


def _in_onnx_runtime(function: Callable, signature: list[tf.TensorSpec]) -> Inference:
    import onnxruntime

    model = to_onnx(function, signature)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # each core has a batch of its own, and none waits for another
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [argument.name for argument in session.get_inputs()]

    def infer(*arrays: np.ndarray) -> list[np.ndarray]:
        parts = [
            session.run(None, {n: a[i : i + IN_CACHE] for n, a in zip(names, arrays, strict=True)})
            for i in range(0, len(arrays[0]), IN_CACHE)
        ]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    return infer


def to_onnx(function: Callable, signature: list[tf.TensorSpec]) -> bytes:
    """Convert a `tf.function` to an ONNX model."""
    import onnx

    convert = partial(_converter().from_function, function, input_signature=signature)
    try:
        model, _ = convert()
    except ValueError:
        # Of MobileNetV3: one of tf2onnx's steps fails at a number added to a convolution. It can
        # skip such a step, for which it copies the graph before each.
        fast = os.environ.pop(CATCH_ERRORS)
        try:
            model, _ = convert()
        finally:
            os.environ[CATCH_ERRORS] = fast
    gc.collect()  # the converter's graphs, 300 MB for MobileNetV2, hang together in circles
    # Tensors that a layer holds, such as the mean in EfficientNet's, have become inputs.
    for name, tensor in _held_tensors(function.get_concrete_function()).items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(tensor.numpy(), name))
    held = {tensor.name for tensor in model.graph.initializer}
    inputs = [argument for argument in model.graph.input if argument.name not in held]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model.SerializeToString()


def _held_tensors(function: tf.types.experimental.ConcreteFunction) -> dict[str, tf.Tensor]:
    """Return the tensors, not the variables, that a function has from outside, by their names."""
    outside = function.captured_inputs
    inside = function.inputs[len(function.inputs) - len(outside) :]
    pairs = zip(inside, outside, strict=True)
    return {name.name: tensor for name, tensor in pairs if tensor.dtype != tf.resource}


@cache
def _converter() -> ModuleType:
    """Return tf2onnx's converter, which learns an operation here, that of ConvNeXt's GELU."""
    import tf2onnx
    from tf2onnx.handler import tf_op

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # what it can't do is said in one line

    @tf_op("Erfc")
    class Erfc:
        @classmethod
        def version_9(cls, graph, node, **_):
            dtypes, shapes = node.output_dtypes, node.output_shapes
            one = graph.make_const(f"{node.name}_one", np.ones((), np.float32))
            erf = graph.make_node("Erf", node.input, dtypes=dtypes, shapes=shapes)
            graph.remove_node(node.name)
            inputs = [one.output[0], erf.output[0]]
            graph.make_node("Sub", inputs, outputs=node.output, dtypes=dtypes, shapes=shapes)

    return tf2onnx.convert
