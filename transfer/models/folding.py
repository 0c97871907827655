"""Fold BatchNormalization into convolutions, and cut a model where its live layers start.

In inference mode BatchNormalization is an affine map of each channel, which the convolution before
it can apply as well: with scale = gamma / sqrt(variance + epsilon), the kernel becomes kernel *
scale and the bias beta - mean * scale (Jacob et al., 2018, section 3.2). Gradients flow through
these products to kernel, gamma and beta, so folding also holds while they are trained.
"""

import math
from collections import Counter
from collections.abc import Callable, Container

from transfer.core.runtime import keras, tf


class Folded(keras.layers.Layer):
    """A convolution and the BatchNormalization after it, as one convolution with a bias."""

    def __init__(
        self,
        convolution: keras.layers.Layer,
        normalization: keras.layers.Layer,
        precision: str,
        to_train: bool,
    ) -> None:
        """Share the variables of both layers.

        Args:
            convolution: A Conv2D or DepthwiseConv2D without activation, channels last.
            normalization: A BatchNormalization of its channels.
            precision: As for `fold`.
            to_train: As for `fold`.
        """
        # No autocast: kernel * scale is computed in float32 first.
        super().__init__(name=convolution.name, dtype=precision, autocast=False)
        self.convolution, self.normalization = convolution, normalization
        self.to_train = to_train

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Return the normalized feature maps, [N, H', W', C'], of feature maps [N, H, W, C]."""
        conv, norm = self.convolution, self.normalization
        scale = keras.ops.rsqrt(norm.moving_variance + norm.epsilon)
        scale = scale * norm.gamma if norm.scale else scale
        mean = norm.moving_mean - conv.bias if conv.use_bias else norm.moving_mean
        bias = norm.beta - mean * scale if norm.center else -mean * scale
        is_depthwise = isinstance(conv, keras.layers.DepthwiseConv2D)
        convolve = keras.ops.depthwise_conv if is_depthwise else keras.ops.conv
        kernel = _scaled_kernel(conv, scale)
        x, kernel, bias = (keras.ops.cast(v, self.compute_dtype) for v in (x, kernel, bias))
        if self.to_train and not is_depthwise and {*conv.kernel_size, *conv.strides} == {1}:
            return _add_bias(_multiply(x, kernel), bias)
        x = convolve(x, kernel, conv.strides, conv.padding, conv.data_format, conv.dilation_rate)
        return _add_bias(x, bias) if self.to_train else x + bias


def _multiply(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Compute a convolution of 1 x 1 as one matrix product: so are its gradients, which is faster.

    Args:
        x: [N, H, W, C].
        kernel: [1, 1, C, C'].
    """
    _, height, width, channels = x.shape
    product = tf.reshape(x, [-1, channels]) @ kernel[0, 0]
    return tf.reshape(product, [-1, height, width, kernel.shape[-1]])


@tf.custom_gradient
def _add_bias(x: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Add a bias [C] to [N, H, W, C]; a product sums its gradient faster than a sum does."""

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = tf.reshape(upstream, [-1, bias.shape[0]])
        ones = tf.ones([1, tf.shape(rows)[0]], rows.dtype)
        return upstream, tf.reshape(ones @ rows, [-1])

    return x + bias, gradient


class Depthwise(keras.layers.Layer):
    """A convolution with one group per channel, computed as a depthwise convolution.

    Those of ConvNeXt are declared as grouped convolutions, which Keras runs through XLA on a CPU.
    """

    def __init__(self, convolution: keras.layers.Conv2D, precision: str) -> None:
        """Share the variables of a layer.

        Args:
            convolution: Has as many groups and filters as its input has channels; channels last.
            precision: As for `fold`.
        """
        super().__init__(name=convolution.name, dtype=precision, autocast=False)
        self.convolution = convolution

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Return feature maps, [N, H', W', C], of feature maps [N, H, W, C]."""
        conv = self.convolution
        kernel = keras.ops.swapaxes(conv.kernel, -1, -2)
        x, kernel = (keras.ops.cast(v, self.compute_dtype) for v in (x, kernel))
        x = keras.ops.depthwise_conv(
            x, kernel, conv.strides, conv.padding, conv.data_format, conv.dilation_rate
        )
        bias = keras.ops.cast(conv.bias, self.compute_dtype) if conv.use_bias else 0
        return conv.activation(x + bias)


class InInferenceMode(keras.layers.Layer):
    """A layer of another model, with its weights, in inference mode."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        super().__init__(name=layer.name)
        self.layer = layer

    def call(self, *inputs: keras.KerasTensor, **arguments: object) -> keras.KerasTensor:
        """Return what the layer returns.

        Args:
            inputs: Its inputs.
            arguments: Other arguments of its call.
        """
        return self.layer(*inputs, training=False, **arguments)


def fold(model: keras.Model, precision: str = "float32", to_train: bool = False) -> keras.Model:
    """Return a model that computes faster what `model` computes in inference mode.

    It shares the variables of `model`, and with them which ones are trainable, and has the names
    of its layers.

    Args:
        model: A Functional model.
        precision: Keras' dtype policy: float32, mixed_float16 or mixed_bfloat16. The variables stay
            float32.
        to_train: Compute layers that train so that their gradients are fast. Converted to ONNX,
            they would be slower.
    """
    pairs = _foldable_pairs(model)
    normalizations = list(pairs.values())

    def replace(layer: keras.Operation) -> keras.Operation:
        if layer in pairs:
            return Folded(layer, pairs[layer], precision, to_train and layer.trainable)
        if layer in normalizations:
            return keras.layers.Identity(name=layer.name, dtype=precision)
        if _is_depthwise(layer):
            return Depthwise(layer, precision)
        if getattr(layer, "weights", None):
            return InInferenceMode(layer)
        # Operations that are no layers have no dtype.
        typed = {"dtype": precision} if isinstance(layer, keras.Layer) else {}
        return layer.__class__.from_config(layer.get_config() | typed)

    def call(
        layer: keras.Operation,
        *inputs: keras.KerasTensor,
        mask: object = None,
        training: bool | None = None,
        **arguments: object,
    ) -> keras.KerasTensor:
        # Neither mask nor training is passed on: the mode is that of inference.
        return layer(*inputs, **arguments)

    return keras.models.clone_model(model, clone_function=replace, call_function=call)


def absorb_scales(model: keras.Model) -> None:
    """Multiply the trained kernels by the scale of the normalization after them, which becomes 1.

    The model computes the same as before. But its scales differ widely between channels, in
    MobileNetV2 from 0.09 to 76, and a step that suits one kernel throws another one off.

    Args:
        model: A Functional model; the variables of its trainable layers are changed in place.
    """
    for conv, norm in _foldable_pairs(model).items():
        if not conv.trainable:
            continue
        scale = keras.ops.rsqrt(norm.moving_variance + norm.epsilon)
        scale = scale * norm.gamma if norm.scale else scale
        mean = norm.moving_mean - conv.bias if conv.use_bias else norm.moving_mean
        conv.kernel.assign(_scaled_kernel(conv, scale))
        if conv.use_bias:
            conv.bias.assign(keras.ops.zeros_like(conv.bias))
        if norm.scale:
            norm.gamma.assign(keras.ops.ones_like(scale))
        norm.moving_mean.assign(mean * scale)
        norm.moving_variance.assign(keras.ops.full_like(scale, 1 - norm.epsilon))


def _scaled_kernel(conv: keras.layers.Layer, scale: keras.KerasTensor) -> keras.KerasTensor:
    """Return the kernel of a convolution, times a scale for each channel that it puts out."""
    if isinstance(conv, keras.layers.DepthwiseConv2D):
        scale = keras.ops.reshape(scale, conv.kernel.shape[2:])
    return conv.kernel * scale


def _is_depthwise(layer: keras.Operation) -> bool:
    """Return whether a layer is a grouped convolution with one group per channel."""
    return (
        type(layer) is keras.layers.Conv2D
        and layer.groups > 1
        and layer.groups == layer.filters == layer.input.shape[-1]
        and layer.data_format == "channels_last"
    )


def _foldable_pairs(model: keras.Model) -> dict[keras.layers.Layer, keras.layers.Layer]:
    """Return each convolution that only a BatchNormalization reads, with that layer."""
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


def frontier(model: keras.Model, live: Container[str] = ()) -> list[keras.KerasTensor]:
    """Return the tensors of a Functional model from which its live layers start.

    Live layers are those that train or lie above one that trains. With residual connections the
    frontier may be several tensors. If no layer is live, it is the output.

    Args:
        model: Its trainable layers decide.
        live: Names of more layers that are live, although they have nothing to train.
    """
    changing, tensors = set(), {}  # ids of the outputs of live layers; the frontier by ids
    for node in model.operations:  # layers, additions and the like, inputs first
        inputs = _inputs(node)
        trains = inputs and (getattr(node, "trainable_variables", ()) or node.name in live)
        if trains or any(id(tensor) in changing for tensor in inputs):
            changing.update(id(tensor) for tensor in keras.tree.flatten(node.output))
            tensors |= {id(tensor): tensor for tensor in inputs if id(tensor) not in changing}
    return list(tensors.values()) or [model.output]


def count_numbers(tensors: list[keras.KerasTensor]) -> int:
    """Return how many numbers some tensors hold for each image."""
    return sum(math.prod(tensor.shape[1:]) for tensor in tensors)


def between(inputs: list[keras.KerasTensor], outputs: list[keras.KerasTensor]) -> keras.Model:
    """Return the part of a Functional model between some of its tensors.

    Args:
        inputs: Tensors of the model, such as its frontier.
        outputs: Tensors that depend on nothing but the inputs.
    """
    return keras.Model(inputs, [keras.layers.Identity()(tensor) for tensor in outputs])


def _inputs(node: keras.Operation) -> list[keras.KerasTensor]:
    """Return the tensors that an operation of a Functional model reads."""
    is_input = isinstance(node, keras.layers.InputLayer)
    return [] if is_input else keras.tree.flatten(node.input)
