"""The solved head is the minimum of the penalized loss, and the classifier computes with it."""

import numpy as np
import pytest

from tests.helpers.models import PARAMS, make_classifier, make_split
from transfer.core.runtime import keras
from transfer.data.dataset import plain_pixels
from transfer.training import convex
from transfer.training.features import features_of


def solve(classes, count=24, **params):
    classifier, split = make_classifier(classes), make_split(count, classes)
    pixels = convex.plain_and_mirrored(split, PARAMS.flip)
    features = features_of(classifier, pixels, plain_pixels(split), "float32")
    scores = convex.solve_head(classifier, features, split, split, PARAMS.model_copy(update=params))
    return classifier, split, features, scores


def log_probabilities(logits):
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    return np.asarray(keras.ops.log_softmax(logits))


@pytest.mark.parametrize("classes", [2, 3])
def test_the_classifier_has_the_scores_that_are_reported(classes):
    classifier, split, _, (_, _, accuracy, loss) = solve(classes)
    found = log_probabilities(classifier.predict(split.images[split.rows], verbose=0))
    assert accuracy == pytest.approx(np.mean(found.argmax(axis=1) == split.labels))
    assert loss == pytest.approx(-found[range(24), split.labels].mean(), rel=1e-3)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_no_step_from_the_solution_lowers_the_penalized_loss(classes, class_weights):
    classifier, split, features, _ = solve(classes, count=25, class_weights=class_weights)
    rows = np.arange(25)
    x = np.concatenate([convex.read_all(features.train, rows, view) for view in (1, 2)])
    labels, scale = np.tile(split.labels, 2), np.sqrt(x.var(axis=0).mean())
    counts = np.bincount(labels)
    weights = len(labels) / (classes * counts) if class_weights == "balanced" else np.ones(classes)
    kernel, bias = classifier.get_layer("head").layers[-1].get_weights()

    def objective(kernel, bias):
        losses = -log_probabilities(x @ kernel + bias)[range(len(labels)), labels]
        return np.mean(weights[labels] * losses) + convex.PENALTY / 2 * np.sum(
            (scale * kernel) ** 2
        )

    best, rng = objective(kernel, bias), np.random.default_rng(0)
    for size in (0.1, 0.01):
        for _ in range(10):
            step = size * rng.standard_normal(kernel.shape).astype("float32")
            assert objective(kernel + step, bias) > best - 1e-5
            assert objective(kernel, bias + size * rng.standard_normal(bias.shape)) > best - 1e-5


def test_of_a_large_set_some_images_are_drawn(monkeypatch):
    monkeypatch.setattr(convex, "MAX_ROWS", 10)
    read, asked = convex.read_all, []
    monkeypatch.setattr(
        convex, "read_all", lambda r, rows, view: asked.append(rows) or read(r, rows, view)
    )
    solve(3)
    drawn, val = asked
    assert 10 <= len(set(drawn)) == len(drawn) <= 13
    assert {0, 1, 2} <= set(drawn)  # of each class
    assert not np.array_equal(drawn, np.arange(len(drawn)))
    assert len(val) == 24


def test_the_same_images_give_the_same_head():
    one, other = (solve(3)[0].get_layer("head").layers[-1].get_weights() for _ in range(2))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("flip", "axes"), [("horizontal", 1), ("vertical", 0), ("horizontal_and_vertical", (0, 1))]
)
def test_the_second_view_is_mirrored_as_flip_says(flip, axes):
    split = make_split(4)
    read, rows = convex.plain_and_mirrored(split, flip), np.array([2, 0])
    plain = split.images[split.rows[rows]]
    np.testing.assert_array_equal(read(rows, 1)[0], plain)
    np.testing.assert_array_equal(read(rows, 2)[0], [np.flip(image, axes) for image in plain])
