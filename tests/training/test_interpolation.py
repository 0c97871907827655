from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.models import AUGMENTATION, make_classifier, make_split
from transfer.core.errors import UserError
from transfer.models.classifier import unfreeze
from transfer.training.calibration import best_temperature, score
from transfer.training.features import compute_features
from transfer.training.interpolation import FRACTIONS, interpolate, logits_of_validation

SPLIT = make_split(12)


@pytest.fixture
def tuned():
    """Return a classifier, its logits of the validation images, and its variables' values."""
    classifier, split = make_classifier(), SPLIT
    unfreeze(classifier.get_layer("base"), 150)
    features = compute_features(classifier, split, split, AUGMENTATION, "float32")
    values = [variable.numpy() for variable in classifier.trainable_variables]
    return classifier, logits_of_validation(classifier, features, len(split.rows), 5), values


def assign(classifier, values):
    for variable, value in zip(classifier.trainable_variables, values, strict=True):
        variable.assign(value)


def predict(classifier):
    return classifier.predict(SPLIT.images[SPLIT.rows], verbose=0)


def spoil(value):
    return value + np.random.default_rng(0).normal(0, 3, value.shape).astype("float32")


@pytest.mark.parametrize("worse", ["end", "start"])
def test_the_best_on_the_validation_images_is_taken(tuned, worse):
    classifier, logits, good = tuned
    bad = [spoil(value) for value in good]
    start, end = (good, bad) if worse == "end" else (bad, good)
    assign(classifier, end)
    fraction, best = interpolate(classifier, start, logits, SPLIT.labels)
    delivered = classifier.get_weights()
    found = {}
    for other in FRACTIONS:
        assign(
            classifier, [a + np.float32(other) * (b - a) for a, b in zip(start, end, strict=True)]
        )
        values = predict(classifier)
        found[other] = score(values / best_temperature(values, SPLIT.labels), SPLIT.labels)
        if other == fraction:
            np.testing.assert_allclose(best, values, atol=5e-3)  # its frozen layers are folded
            for value, expected in zip(delivered, classifier.get_weights(), strict=True):
                np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
    assert fraction == max(found, key=lambda f: (found[f][0], f == 0, -found[f][1]))
    assert fraction == (0 if worse == "end" else 1)


def test_the_end_of_the_way_is_the_fine_tuned_model_to_the_bit(tuned, monkeypatch):
    classifier, logits, values = tuned
    monkeypatch.setattr("transfer.training.interpolation.FRACTIONS", (1.0, 0.0))
    interpolate(classifier, [spoil(value) for value in values], logits, SPLIT.labels)
    for variable, value in zip(classifier.trainable_variables, values, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.parametrize(("wrong", "fraction"), [(1, 0.0), (2, 1.0)])
def test_fine_tuning_has_to_be_right_more_often_than_the_head(tuned, wrong, fraction):
    classifier, _, values = tuned
    of_tuned, of_head = (np.where(SPLIT.labels, size, -size)[:, None] for size in (5.0, 1.0))
    of_tuned[:1] *= -0.1
    of_head[:wrong] *= -1
    logits = iter([of_tuned] * (len(FRACTIONS) - 1) + [of_head])
    assert interpolate(classifier, values, lambda: next(logits), SPLIT.labels)[0] == fraction


def test_an_error_of_a_reader_is_told_as_it_is():
    classifier, split = make_classifier(), SPLIT
    features = compute_features(classifier, split, split, AUGMENTATION, "float32")

    def damaged(indices, view):
        if 11 in indices:  # not in the batches that Keras reads first, for their shapes
            raise UserError("a shard is damaged")
        return features.val(indices, view)

    with pytest.raises(UserError, match="^a shard is damaged$"):
        logits_of_validation(classifier, replace(features, val=damaged), 12, 3)()
