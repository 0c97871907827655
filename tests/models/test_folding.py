"""Folded and cut models compute the same features and gradients as Keras' own."""

import keras
import numpy as np
import pytest

from transfer.core.runtime import tf
from transfer.models.backbones import build_base
from transfer.models.classifier import unfreeze
from transfer.models.folding import Folded, absorb_scales, between, fold, frontier

PIXELS = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)


def randomize(model):
    """Give all weights, also those of BatchNormalization, values in which errors would show."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        for weight in layer.weights:
            if weight.ndim == 1:
                spread = rng.uniform(0.5, 1.5, weight.shape)
                positive = weight.path.endswith(("gamma", "variance"))
                weight.assign(spread if positive else spread - 1)
    return model


def reference(model):
    """Return features, and the gradients of their mean square by the path of the variable."""
    model.trainable = True
    with tf.GradientTape() as tape:
        features = model(PIXELS, training=False)
        loss = tf.reduce_mean(features**2)
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables])
    return features, {v.path: g for v, g in zip(variables, gradients, strict=True)}


def check(model, folded, features, gradients):
    """Compare with the reference: features to 1e-4, gradients to 1e-3, both relative."""
    start = frontier(folded)
    frozen, live = between(folded.inputs, start), between(start, folded.outputs)
    variables = live.trainable_variables
    with tf.GradientTape() as tape:
        result = live(keras.tree.flatten(frozen([PIXELS], training=False)), training=False)
        loss = tf.reduce_mean(result**2)
    assert not frozen.trainable_variables
    assert {v.path for v in variables} == {v.path for v in model.trainable_variables}
    assert error(result, features) < 1e-4
    found = tape.gradient(loss, [v.value for v in variables])
    for variable, gradient in zip(variables, found, strict=True):
        assert error(gradient, gradients[variable.path]) < 1e-3, variable.path


def error(found, expected):
    return float(tf.reduce_max(tf.abs(found - expected)) / tf.reduce_max(tf.abs(expected)))


@pytest.mark.slow
@pytest.mark.parametrize("to_train", [True, False])
def test_mobilenet_v2_cut_at_every_layer(to_train):
    model = randomize(build_base("MobileNetV2", 32))
    folded, (features, gradients) = fold(model, to_train=to_train), reference(model)
    assert sum(isinstance(layer, Folded) for layer in folded.layers) == 52
    for index in range(len(model.layers) + 1):
        unfreeze(model, index)
        check(model, folded, features, gradients)


@pytest.mark.parametrize(
    "backbone",
    [
        *("MobileNetV2", "EfficientNetLite0", "MobileNetV3Small", "ConvNeXtTiny"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("ResNet50", "EfficientNetV2B0")),
    ],
)
def test_backbones_cut_at_some_layers(backbone):
    model = randomize(build_base(backbone, 32))
    folded, (features, gradients) = fold(model, to_train=True), reference(model)
    for index in (0, len(model.layers) // 2, len(model.layers) - 10, len(model.layers)):
        unfreeze(model, index)
        check(model, folded, features, gradients)


def test_a_convolution_that_has_other_readers_is_not_folded():
    inputs = keras.Input((8, 8, 3))
    read_twice = keras.layers.Conv2D(4, 3)(inputs)
    normalized = keras.layers.BatchNormalization()(read_twice)
    model = randomize(keras.Model(inputs, keras.layers.Add()([read_twice, normalized])))
    pixels = PIXELS[:, :8, :8]
    np.testing.assert_allclose(
        fold(model)(pixels, training=False), model(pixels, training=False), atol=1e-5
    )


def test_the_frontier_may_be_several_tensors():
    model = build_base("MobileNetV2", 32)
    unfreeze(model, [layer.name for layer in model.layers].index("block_11_project"))
    start = frontier(fold(model))
    assert [tuple(tensor.shape[1:]) for tensor in start] == [(2, 2, 576), (2, 2, 96)]


def test_a_frontier_at_the_first_layer_is_the_input():
    folded = fold(build_base("MobileNetV2", 32))
    names = [layer.name for layer in folded.layers]
    folded.trainable = False
    assert frontier(folded, live=names) == folded.inputs


def test_half_precision_gives_nearly_the_same_and_leaves_the_variables_alone():
    model = randomize(build_base("MobileNetV2", 32))
    half = fold(model, "mixed_bfloat16", to_train=True)
    found, expected = half(PIXELS, training=False), model(PIXELS, training=False)
    assert found.dtype == "bfloat16"
    assert error(tf.cast(found, tf.float32), expected) < 0.05
    assert {variable.dtype for variable in half.variables} == {"float32"}
    assert {id(v) for v in half.variables} == {id(v) for v in model.variables}


@pytest.mark.parametrize("backbone", ["MobileNetV2", "ResNet50", "EfficientNetV2B0"])
def test_absorbed_scales_change_no_feature(backbone):
    model = randomize(build_base(backbone, 32))
    before = model(PIXELS, training=False)
    half = len(model.layers) // 2
    unfreeze(model, half)
    frozen = [w.numpy() for layer in model.layers[:half] for w in layer.weights]
    absorb_scales(model)
    assert error(model(PIXELS, training=False), before) < 1e-4
    for value, weight in zip(
        frozen, (w for layer in model.layers[:half] for w in layer.weights), strict=True
    ):
        np.testing.assert_array_equal(value, weight)
    after = [
        layer
        for layer in model.layers[half + 1 :]
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    for layer in after:
        scale = np.asarray(layer.gamma) / np.sqrt(layer.moving_variance + layer.epsilon)
        np.testing.assert_allclose(scale, 1, rtol=1e-6)
