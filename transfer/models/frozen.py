"""Run frozen layers, which need no gradients, in the fastest runtime.

On a CPU that is ONNX Runtime (benchmarks/RESULTS.md compares runtimes). On a GPU, and where ONNX
Runtime is missing or fails, it is TensorFlow. The results of the two agree to 1e-4, not to the bit.
"""

import gc
import logging
import os
import sys
from collections.abc import Callable
from functools import cache, partial
from types import ModuleType

import numpy as np

from transfer.core.runtime import CATCH_ERRORS, keras, tf
from transfer.models.inference import FROZEN_RUNTIME, Inference, OnnxInference


def compile_inference(function: Callable, signature: list[tf.TensorSpec]) -> Inference:
    """Compile a function of tensors; its variables keep the values that they have now.

    Args:
        function: Takes tensors [N, …] and returns one tensor [N, …] or a list of them.
        signature: Shape and dtype of each argument.

    Returns:
        A function from arrays to a list of arrays, which several threads may call at a time.
    """
    # AutoGraph is not needed here, and warns where it can't write its files.
    function = tf.function(function, input_signature=signature, autograph=False)
    if FROZEN_RUNTIME == "onnxruntime" and not tf.config.list_physical_devices("GPU"):
        try:
            return OnnxInference(to_onnx(function, signature))
        except ImportError as error:
            reason = error
        except Exception as error:  # each unknown operation raises another one
            reason = f"{type(error).__name__}: {error}"
        print(
            f"the frozen layers run in TensorFlow, since ONNX Runtime can't run them: {reason}",
            file=sys.stderr,
        )
    return lambda *arrays: [result.numpy() for result in keras.tree.flatten(function(*arrays))]


def to_onnx(function: Callable, signature: list[tf.TensorSpec]) -> bytes:
    """Convert a `tf.function` to a serialized ONNX model.

    Args:
        function: The values of its variables become constants.
        signature: Shape and dtype of each argument.
    """
    import onnx

    convert = partial(_converter().from_function, function, input_signature=signature)
    try:
        model, _ = convert()
    except ValueError:
        # One optimization of tf2onnx fails where a number is added to a convolution, as in
        # MobileNetV3. It can skip such a step, but then copies the graph before each step.
        fast = os.environ.pop(CATCH_ERRORS)
        try:
            model, _ = convert()
        finally:
            os.environ[CATCH_ERRORS] = fast
    gc.collect()  # the converter's graphs, 300 MB for MobileNetV2, are reference cycles
    # Tensors that a layer captured, such as the mean in EfficientNet, have become inputs.
    for name, tensor in _captured_tensors(function.get_concrete_function()).items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(tensor.numpy(), name))
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [argument for argument in model.graph.input if argument.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model.SerializeToString()


def _captured_tensors(function: tf.types.experimental.ConcreteFunction) -> dict[str, tf.Tensor]:
    """Return the tensors, but not the variables, that a function captured, by name."""
    outside = function.captured_inputs
    inside = function.inputs[len(function.inputs) - len(outside) :]
    pairs = zip(inside, outside, strict=True)
    return {inner.name: outer for inner, outer in pairs if outer.dtype != tf.resource}


@cache
def _converter() -> ModuleType:
    """Return tf2onnx's converter, extended by Erfc, which the GELU of ConvNeXt needs."""
    import tf2onnx
    from tf2onnx.graph import Graph, Node
    from tf2onnx.handler import tf_op

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # `compile_inference` prints one line

    @tf_op("Erfc")
    class Erfc:
        """Replace erfc(x) by 1 - erf(x)."""

        @classmethod
        def version_9(cls, graph: Graph, node: Node, **_: object) -> None:
            """Rewrite a node; tf2onnx calls this from version 9 of the ONNX operations up."""
            dtypes, shapes = node.output_dtypes, node.output_shapes
            one = graph.make_const(f"{node.name}_one", np.ones((), np.float32))
            erf = graph.make_node("Erf", node.input, dtypes=dtypes, shapes=shapes)
            graph.remove_node(node.name)
            inputs = [one.output[0], erf.output[0]]
            graph.make_node("Sub", inputs, outputs=node.output, dtypes=dtypes, shapes=shapes)

    return tf2onnx.convert
