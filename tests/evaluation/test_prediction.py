import numpy as np
import pytest

from tests.helpers.models import make_classifier, make_split
from transfer.evaluation.prediction import predict, to_probabilities, uncalibrated
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
