import numpy as np
import pytest
from scipy.special import expit, log_softmax

from tests.helpers.models import make_classifier, make_split
from transfer.training.calibration import (
    best_temperature,
    divide_logits,
    fit_temperature,
    score,
)


def drawn(classes, image_count=4_000):
    """Return logits, and labels drawn with the probabilities that the logits mean."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (image_count, 1 if classes == 2 else classes))
    if classes == 2:
        return logits, (rng.random(image_count) < expit(logits[:, 0])).astype(int)
    return logits, np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("factor", [0.2, 1.0, 7.0])
def test_the_temperature_undoes_a_factor_of_the_logits(classes, factor):
    logits, labels = drawn(classes)
    assert fit_temperature(factor * logits, labels, 0) == pytest.approx(factor, rel=0.1)
    temperature = best_temperature(factor * logits, labels)
    assert temperature == pytest.approx(factor, rel=0.1)
    expected = score(logits / best_temperature(logits, labels), labels)
    assert score(factor * logits / temperature, labels) == pytest.approx(expected, rel=1e-3)


def test_the_loss_is_the_cross_entropy_of_the_plain_labels():
    logits, labels = drawn(5)
    accuracy, loss = score(logits / 1.7, labels)
    expected = -log_softmax(logits / 1.7, axis=1)[np.arange(len(labels)), labels].mean()
    assert loss == pytest.approx(expected)
    assert accuracy == np.mean(logits.argmax(axis=1) == labels)


def test_few_images_that_are_all_right_do_not_make_certain():
    labels = np.arange(800) % 2
    logits = np.where(labels, 3.0, -3.0)[:, None]
    few, many = (best_temperature(logits[:n], labels[:n]) for n in (8, 800))
    assert 0.02 < many < few < 1
    # At the best temperature T: N * 3 / T * (1 - p) = -log(T), where p = 1 / (1 + exp(-3 / T)).
    assert 8 * 3 / few * expit(-3 / few) == pytest.approx(-np.log(few), rel=1e-2)


def test_few_images_leave_a_model_as_it_is():
    logits, labels = drawn(5)
    few, many = (best_temperature(4 * logits[:n], labels[:n]) for n in (6, 4_000))
    assert 1 < few < many


def test_smoothing_asks_for_the_certainty_of_smoothed_labels():
    labels = np.arange(60) % 3
    temperature = fit_temperature(20 * np.eye(3)[labels], labels, 0.3)
    most = np.exp(log_softmax(20 * np.eye(3)[0] / temperature))[0]
    assert most == pytest.approx(0.8, abs=1e-3)  # 1 - 0.3 + 0.3 / 3


@pytest.mark.parametrize("classes", [2, 3])
def test_a_classifiers_logits_are_divided(classes):
    classifier, split = make_classifier(classes), make_split(6, classes)
    before = classifier.predict(split.images[split.rows], verbose=0)
    divide_logits(classifier, 2.5)
    after = classifier.predict(split.images[split.rows], verbose=0)
    np.testing.assert_allclose(after, before / 2.5, rtol=1e-5, atol=1e-6)
