import numpy as np
import pytest

from tests.helpers import models
from tests.helpers.models import compiled, make_split
from transfer.core.runtime import keras, tf
from transfer.evaluation.grad_cam import grad_cam, overlay
from transfer.models.classifier import build_classifier

SIZE = 8


def make_classifier(classes, kernel):
    """Return a classifier whose feature c is the mean of channel c over 2 x 2 pixels."""
    inputs = keras.Input((SIZE, SIZE, 3))
    base = keras.Model(inputs, keras.layers.AveragePooling2D(2)(inputs), name="base")
    classifier = build_classifier(base, "MobileNetV2", classes, 0.5, seed=0)
    classifier.get_layer("head").set_weights([np.array(kernel, float), np.zeros(len(kernel[0]))])
    return compiled(classifier)


def red_and_green():
    """Return an image that is red at the upper left, green at the lower right, black elsewhere."""
    pixels = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    pixels[0, :2, :2, 0] = pixels[0, -2:, -2:, 1] = 255
    return pixels


@pytest.mark.parametrize(
    ("classes", "kernel"), [(2, [[-1], [1], [0]]), (3, [[1, 0, 0], [0, 1, 0], [0, 0, 1]])]
)
def test_maps_are_strongest_where_the_class_is_seen(classes, kernel):
    classifier = make_classifier(classes, kernel)
    maps = grad_cam(classifier, np.repeat(red_and_green(), 2, axis=0), np.array([0, 1]))
    assert maps.shape == (2, SIZE, SIZE) and maps.dtype == np.float32
    assert [np.unravel_index(m.argmax(), m.shape) for m in maps] == [(0, 0), (SIZE - 1, SIZE - 1)]
    assert maps.min() == 0 and (maps.max(axis=(1, 2)) == 1).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_maps_are_those_of_the_gradients(classes):
    classifier, split = models.make_classifier(classes), make_split(6, classes)
    pixels, labels = split.images[split.rows], split.labels
    layers = map(classifier.get_layer, ("preprocessing", "base", "head"))
    preprocessing, base, head = layers
    features = base(preprocessing(pixels), training=False)
    with tf.GradientTape() as tape:
        tape.watch(features)
        logits = head(features, training=False)
        if classes == 2:
            logits = tf.concat([-logits, logits], axis=1)
        scores = tf.gather(logits, labels, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(scores, features), axis=(1, 2), keepdims=True)
    maps = tf.nn.relu(tf.reduce_sum(weights * features, axis=3, keepdims=True))
    maps = tf.image.resize(maps, pixels.shape[1:3])[..., 0].numpy()
    strongest = maps.max(axis=(1, 2), keepdims=True)
    assert (strongest > 0).any()
    expected = maps / np.where(strongest > 0, strongest, 1)
    np.testing.assert_allclose(grad_cam(compiled(classifier), pixels, labels), expected, atol=1e-3)


def test_map_of_a_class_that_nothing_supports_is_zero():
    classifier = make_classifier(3, [[0, 0, 0]] * 3)
    assert not grad_cam(classifier, red_and_green(), np.array([2])).any()


def test_overlay_is_red_where_the_map_is_strong_and_the_image_elsewhere():
    pixels = np.full((1, 2, 2, 3), 100, np.uint8)
    maps = np.array([[[0, 0.5], [0, 1]]])
    overlaid = overlay(pixels, maps)
    assert overlaid.dtype == np.uint8
    np.testing.assert_array_equal(overlaid[0, :, 0], pixels[0, :, 0])
    redness = overlaid[..., 0].astype(int) - overlaid[..., 1]
    assert 0 == redness[0, 0, 0] < redness[0, 0, 1] < redness[0, 1, 1]
