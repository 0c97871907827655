"""The same mathematics with less work: BatchNormalization folded away, frozen layers apart.

In inference mode a BatchNormalization is an affine map of each channel, which a convolution before
it can do as well: with scale = gamma / sqrt(variance + epsilon), the kernel becomes kernel * scale
and the bias beta - mean * scale (Jacob et al., 2018, section 3.2). Gradients flow through these
products to kernel, gamma and beta, so this holds where they are trained, too.
"""

from collections import Counter
from collections.abc import Container

from transfer.core.runtime import keras


class Folded(keras.layers.Layer):
    """A convolution and the BatchNormalization after it, as one convolution with a bias."""

    def __init__(
        self, convolution: keras.layers.Layer, normalization: keras.layers.Layer, precision: str
    ):
        # Not autocast: kernel * scale is taken in float32 first.
        super().__init__(name=convolution.name, dtype=precision, autocast=False)
        self.convolution, self.normalization = convolution, normalization

    def call(self, x):
        conv, norm = self.convolution, self.normalization
        scale = keras.ops.rsqrt(norm.moving_variance + norm.epsilon)
        scale = scale * norm.gamma if norm.scale else scale
        mean = norm.moving_mean - conv.bias if conv.use_bias else norm.moving_mean
        bias = norm.beta - mean * scale if norm.center else -mean * scale
        if isinstance(conv, keras.layers.DepthwiseConv2D):
            kernel = conv.kernel * keras.ops.reshape(scale, conv.kernel.shape[2:])
            convolve = keras.ops.depthwise_conv
        else:
            kernel, convolve = conv.kernel * scale, keras.ops.conv
        x, kernel, bias = (keras.ops.cast(v, self.compute_dtype) for v in (x, kernel, bias))
        return bias + convolve(
            x, kernel, conv.strides, conv.padding, conv.data_format, conv.dilation_rate
        )


class Depthwise(keras.layers.Layer):
    """A convolution with a group for each channel, as the depthwise one that it is.

    ConvNeXt's are called grouped, and grouped ones Keras leaves to XLA on a CPU.
    """

    def __init__(self, convolution: keras.layers.Layer, precision: str):
        super().__init__(name=convolution.name, dtype=precision, autocast=False)
        self.convolution = convolution

    def call(self, x):
        conv = self.convolution
        kernel = keras.ops.swapaxes(conv.kernel, -1, -2)
        x, kernel = (keras.ops.cast(v, self.compute_dtype) for v in (x, kernel))
        x = keras.ops.depthwise_conv(
            x, kernel, conv.strides, conv.padding, conv.data_format, conv.dilation_rate
        )
        bias = keras.ops.cast(conv.bias, self.compute_dtype) if conv.use_bias else 0
        return conv.activation(x + bias)


class InInferenceMode(keras.layers.Layer):
    """A layer of another model, with its weights."""

    def __init__(self, layer: keras.layers.Layer):
        super().__init__(name=layer.name)
        self.layer = layer

    def call(self, *inputs, **arguments):
        return self.layer(*inputs, training=False, **arguments)


def fold(model: keras.Model, precision: str = "float32") -> keras.Model:
    """Return a Functional model that computes what `model` does in inference mode, faster.

    It has the variables of `model`, trainable where they are there, and its layers' names.

    Args:
        precision: float32, mixed_float16 or mixed_bfloat16: Keras' policy for what is computed
            between the variables, which stay float32.
    """
    pairs = _foldable_pairs(model)
    normalizations = list(pairs.values())

    def replace(layer):
        if layer in pairs:
            return Folded(layer, pairs[layer], precision)
        if layer in normalizations:
            return keras.layers.Identity(name=layer.name, dtype=precision)
        if _is_depthwise(layer):
            return Depthwise(layer, precision)
        if getattr(layer, "weights", None):
            return InInferenceMode(layer)
        typed = {"dtype": precision} if isinstance(layer, keras.Layer) else {}  # not additions
        return layer.__class__.from_config(layer.get_config() | typed)

    def call(layer, *inputs, mask=None, training=None, **arguments):
        return layer(*inputs, **arguments)

    return keras.models.clone_model(model, clone_function=replace, call_function=call)


def _is_depthwise(layer: keras.layers.Layer) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and layer.groups > 1
        and layer.groups == layer.filters == layer.input.shape[-1]
        and layer.data_format == "channels_last"
    )


def _foldable_pairs(model: keras.Model) -> dict:
    """Return the convolutions whose output goes to a BatchNormalization only, with that."""
    readers = Counter(id(tensor) for node in model.operations for tensor in _inputs(node))
    readers.update(map(id, model.outputs))
    convolutions = {
        id(layer.output): layer
        for layer in model.layers
        if type(layer) in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
        and getattr(layer, "groups", 1) == 1
        and layer.activation is keras.activations.linear
        and layer.data_format == "channels_last"
    }
    return {
        convolutions[id(layer.input)]: layer
        for layer in model.layers
        if type(layer) is keras.layers.BatchNormalization
        and id(layer.input) in convolutions
        and readers[id(layer.input)] == 1
        and layer.axis in (-1, 3)
    }


def frontier(model: keras.Model, live: Container[str] = ()) -> list:
    """Return the tensors of a Functional model that what is trained starts from.

    With residual connections these may be several; where nothing is trained, it is the output.

    Args:
        live: Names of layers beyond the frontier though nothing in them is trainable.
    """
    moving, tensors = set(), {}
    for node in model.operations:  # sorted, inputs first; layers, and additions and the like
        inputs = _inputs(node)
        starts = inputs and (getattr(node, "trainable_variables", ()) or node.name in live)
        if starts or any(id(tensor) in moving for tensor in inputs):
            moving.update(id(tensor) for tensor in keras.tree.flatten(node.output))
            tensors |= {id(tensor): tensor for tensor in inputs if id(tensor) not in moving}
    return list(tensors.values()) or [model.output]


def between(inputs: list, outputs: list) -> keras.Model:
    """Return the part of a Functional model between lists of its tensors."""
    return keras.Model(inputs, [keras.layers.Identity()(tensor) for tensor in outputs])


def _inputs(node: keras.Operation) -> list:
    is_input = isinstance(node, keras.layers.InputLayer)
    return [] if is_input else keras.tree.flatten(node.input)
