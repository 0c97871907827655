import numpy as np
import pytest

from tests.helpers import models
from tests.helpers.models import compiled, make_classifier, make_split
from transfer.evaluation.prediction import predict, uncalibrated
from transfer.models.compiled import to_probabilities
from transfer.models.familiarity import learn_familiarity
from transfer.training.calibration import divide_logits


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_probabilities_before_calibration_are_those_of_the_undivided_logits(classes, temperature):
    classifier, split = make_classifier(classes), make_split(6, classes)
    before = models.predict(classifier, split)
    divide_logits(classifier, temperature)
    after = models.predict(classifier, split)
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_allclose(uncalibrated(after, temperature), before, atol=1e-5)


def test_a_certain_model_stays_certain():
    probabilities = to_probabilities(np.float32([[200.0], [-200.0]]))
    np.testing.assert_array_equal(uncalibrated(probabilities, 2), [[0, 1], [1, 0]])


@pytest.mark.parametrize("classes", [2, 3])
def test_what_is_predicted_is_what_keras_predicts(classes):
    classifier, split = make_classifier(classes), make_split(40, classes)  # a batch and a part
    logits = classifier.predict(split.images[split.rows], verbose=0)
    pixels = classifier.get_layer("preprocessing")(split.images[split.rows])
    features = classifier.get_layer("base")(pixels, training=False).numpy().mean(axis=(1, 2))
    familiarity = learn_familiarity(features[:20], classes)

    probabilities, scores = predict(compiled(classifier, familiarity), split, "images")
    assert probabilities.shape == (40, classes) and probabilities.dtype == np.float32
    # The random weights make more of a rounding than trained ones do.
    np.testing.assert_allclose(probabilities, to_probabilities(logits), atol=1e-3)
    np.testing.assert_allclose(scores, familiarity.score(features, probabilities), atol=1e-3)
    assert np.ptp(scores) > 0.01
    assert predict(compiled(classifier), split, "images")[1] is None
