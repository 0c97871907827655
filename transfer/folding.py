"""The same mathematics with less work: BatchNormalization folded away, frozen layers cut off.

In inference mode a BatchNormalization is an affine map of each channel, which a convolution before
it can do as well: with scale = gamma / sqrt(variance + epsilon), the kernel becomes kernel * scale
and the bias beta - mean * scale (Jacob et al., 2018, section 3.2). Gradients flow through these
products to kernel, gamma and beta, so this holds where they are trained, too.
"""

from collections import Counter

from transfer.engine import keras


class Folded(keras.layers.Layer):
    """A convolution and the BatchNormalization after it, as one convolution with a bias."""

    def __init__(self, convolution: keras.layers.Layer, normalization: keras.layers.Layer):
        super().__init__(name=f"{convolution.name}_folded")
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
        return bias + convolve(
            x, kernel, conv.strides, conv.padding, conv.data_format, conv.dilation_rate
        )


class InInferenceMode(keras.layers.Layer):
    """A layer of another model, with its weights."""

    def __init__(self, layer: keras.layers.Layer):
        super().__init__(name=f"{layer.name}_in_inference_mode")
        self.layer = layer

    def call(self, *inputs, **arguments):
        return self.layer(*inputs, training=False, **arguments)


def fold(model: keras.Model) -> keras.Model:
    """Return a Functional model that computes what `model` does in inference mode, faster.

    It has the variables of `model`, trainable where they are there.
    """
    pairs = _foldable_pairs(model)
    normalizations = list(pairs.values())

    def replace(layer):
        if layer in pairs:
            return Folded(layer, pairs[layer])
        if layer in normalizations:
            return keras.layers.Identity()
        if getattr(layer, "weights", None):
            return InInferenceMode(layer)
        return layer.__class__.from_config(layer.get_config())

    def call(layer, *inputs, mask=None, training=None, **arguments):
        return layer(*inputs, **arguments)

    return keras.models.clone_model(model, clone_function=replace, call_function=call)


def _foldable_pairs(model: keras.Model) -> dict:
    """Return the convolutions whose output goes to a BatchNormalization only, with that."""
    readers = Counter(id(tensor) for layer in model.layers for tensor in _inputs(layer))
    readers.update(map(id, model.outputs))
    convolutions = {
        id(layer.output): layer
        for layer in model.layers
        if type(layer) in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
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


def cut(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cut a Functional model in two: what no trainable variable has a part in, and the rest.

    Returns:
        frozen: from the input to the frontier, a list of tensors: with residual connections the
            rest may need several.
        live: from the frontier to the output.
    """
    live, frontier = set(), {}
    for layer in model.layers:  # sorted: inputs first
        inputs = _inputs(layer)
        if layer.trainable_variables or any(id(tensor) in live for tensor in inputs):
            live.update(id(tensor) for tensor in keras.tree.flatten(layer.output))
            frontier |= {id(tensor): tensor for tensor in inputs if id(tensor) not in live}
    if not frontier:  # all is frozen
        features = keras.Input(model.output.shape[1:])
        rest = keras.Model([features], keras.layers.Identity()(features))
        return keras.Model(model.input, [model.output]), rest
    tensors = list(frontier.values())
    return keras.Model(model.input, tensors), keras.Model(tensors, model.output)


def _inputs(layer: keras.layers.Layer) -> list:
    is_input = isinstance(layer, keras.layers.InputLayer)
    return [] if is_input else keras.tree.flatten(layer.input)
