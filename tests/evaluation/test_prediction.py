import numpy as np
import pytest

from tests.helpers.models import make_classifier, make_split
from transfer.core.runtime import keras
from transfer.evaluation.prediction import (
    predict,
    predict_and_score,
    to_probabilities,
    uncalibrated,
)
from transfer.training.calibration import divide_logits


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_probabilities_before_calibration_are_those_of_the_undivided_logits(classes, temperature):
    classifier, split = make_classifier(classes), make_split(6, classes)
    before = predict(classifier, split)
    divide_logits(classifier, temperature)
    after = predict(classifier, split)
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_allclose(uncalibrated(after, temperature), before, atol=1e-5)


def test_a_certain_model_stays_certain():
    probabilities = to_probabilities(np.float32([[200.0], [-200.0]]))
    np.testing.assert_array_equal(uncalibrated(probabilities, 2), [[0, 1], [1, 0]])


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_are_those_of_the_pooled_features_of_each_image(classes):
    classifier, split = make_classifier(classes), make_split(40, classes)  # a batch and a part

    def score(features, probabilities):
        return keras.ops.sum(features, axis=1) + 100 * probabilities[:, 0]

    probabilities, scores = predict_and_score(classifier, split, score)
    np.testing.assert_array_equal(probabilities, predict(classifier, split))
    pixels = classifier.get_layer("preprocessing")(split.images[split.rows])
    features = classifier.get_layer("base")(pixels, training=False).numpy().mean(axis=(1, 2))
    expected = features.sum(axis=1) + 100 * probabilities[:, 0]
    np.testing.assert_allclose(scores, expected, rtol=1e-4)
