import numpy as np
import pytest

from tests.helpers.models import AUGMENTATION, make_classifier, make_split
from transfer.models.classifier import unfreeze
from transfer.training.features import compute_features
from transfer.training.interpolation import FRACTIONS, interpolate
from transfer.training.targets import Targets

SPLIT = make_split(12)


@pytest.fixture
def tuned():
    """Return a classifier, its features and targets, and the values of its variables."""
    classifier, split = make_classifier(), SPLIT
    unfreeze(classifier.get_layer("base"), 150)
    features = compute_features(classifier, split, split, AUGMENTATION, "float32")
    values = [variable.numpy() for variable in classifier.trainable_variables]
    return classifier, features, Targets(split), values


def spoil(value):
    return value + np.random.default_rng(0).normal(0, 3, value.shape).astype("float32")


@pytest.mark.parametrize("worse", ["end", "start"])  # the best are 1/2 and the end
def test_the_best_on_the_validation_images_is_taken_and_its_scores_are_the_models(tuned, worse):
    classifier, features, targets, good = tuned
    bad = [spoil(value) for value in good]
    start, end = (good, bad) if worse == "end" else (bad, good)
    for variable, value in zip(classifier.trainable_variables, end, strict=True):
        variable.assign(value)
    fraction, accuracy, loss = interpolate(classifier, start, features, targets, 5)
    for variable, a, b in zip(classifier.trainable_variables, start, end, strict=True):
        np.testing.assert_allclose(variable.numpy(), a + fraction * (b - a), rtol=1e-5, atol=1e-6)
    found = {}
    for other in FRACTIONS:
        for variable, a, b in zip(classifier.trainable_variables, start, end, strict=True):
            variable.assign(a + other * (b - a))
        logits = classifier.predict(SPLIT.images[SPLIT.rows], verbose=0)[:, 0]
        right = (logits > 0) == (SPLIT.labels == 1)
        loss_of_each = np.logaddexp(0, np.where(SPLIT.labels == 1, -logits, logits))
        found[other] = right.mean(), -loss_of_each.mean()
    assert fraction == max(found, key=found.get)
    assert (accuracy, -loss) == pytest.approx(found[fraction], rel=1e-3)


def test_the_end_of_the_way_is_the_fine_tuned_model_to_the_bit(tuned, monkeypatch):
    classifier, features, targets, values = tuned
    monkeypatch.setattr("transfer.training.interpolation.FRACTIONS", (1.0,))
    interpolate(classifier, [spoil(value) for value in values], features, targets, 5)
    for variable, value in zip(classifier.trainable_variables, values, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
