import numpy as np
import pytest

from stages.fine_tune import soften
from tests.helpers.models import make_classifier, make_split
from transfer.training.calibration import divide_logits, fit_temperature


class OtherProcess:
    """A process that is not the chief: it is told the chief's temperature."""

    def broadcast(self, content):
        return b"3.0"


@pytest.mark.parametrize("replicas", [None, OtherProcess()])
def test_a_solved_head_becomes_as_unsure_as_smoothed_labels(replicas):
    split = make_split(12, classes=3)
    classifier = make_classifier(3)
    divide_logits(classifier, 0.1)  # far too sure
    before = classifier.predict(split.images[split.rows], verbose=0)
    labels = before.argmax(axis=1)  # all right, as after a solver
    soften(classifier, before, labels, 0.1, replicas)
    after = classifier.predict(split.images[split.rows], verbose=0)
    temperature = 3.0 if replicas else fit_temperature(before, labels, 0.1)
    np.testing.assert_allclose(after, before / temperature, rtol=1e-4, atol=1e-5)
    if not replicas:
        assert temperature > 2
        assert fit_temperature(after, labels, 0.1) == pytest.approx(1, rel=1e-2)
