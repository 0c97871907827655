import numpy as np
import pytest

from stages.fine_tune import deliver
from tests.helpers.models import PARAMS, make_classifier, make_split
from transfer.core.files import HEAD_MODEL, MODEL
from transfer.models.classifier import load_model, save_model
from transfer.models.description import Description, read_description
from transfer.training.calibration import best_temperature, score

SPLIT = make_split(12, classes=3)
PIXELS = SPLIT.images[SPLIT.rows]


def params(calibrate):
    return PARAMS.model_copy(update={"calibrate": calibrate, "familiarity": False})


@pytest.fixture
def head(tmp_path, monkeypatch):
    """Save a model of the head in a folder of its own, and return it."""
    monkeypatch.chdir(tmp_path)
    HEAD_MODEL.parent.mkdir()
    model = make_classifier(3)
    save_model(model, HEAD_MODEL, Description(SPLIT.class_names, crop_to_aspect_ratio=True))
    return model


@pytest.mark.parametrize(("fraction", "name"), [(0.0, "head"), (0.5, "fine-tuned")])
def test_the_delivered_model_is_calibrated_and_its_description_says_so(head, fraction, name):
    logits = head.predict(PIXELS, verbose=0)
    found = deliver(head, fraction, logits, SPLIT, SPLIT, params(calibrate=True))
    temperature = best_temperature(logits, SPLIT.labels)
    assert abs(temperature - 1) > 0.1
    assert read_description(MODEL).temperature == temperature
    np.testing.assert_allclose(
        load_model(MODEL).predict(PIXELS, verbose=0), logits / temperature, rtol=1e-4, atol=1e-6
    )
    accuracy, loss = score(logits / temperature, SPLIT.labels)
    assert found == {
        "delivered": name,
        "fraction": fraction,
        "temperature": temperature,
        "val_accuracy": accuracy,
        "val_loss": loss,
    }


def test_without_calibration_the_heads_model_is_delivered_to_the_byte(head, capsys):
    logits = head.predict(PIXELS, verbose=0)
    found = deliver(head, 0.0, logits, SPLIT, SPLIT, params(calibrate=False))
    assert MODEL.read_bytes() == HEAD_MODEL.read_bytes()
    assert "temperature" not in found
    assert found["val_loss"] == score(logits, SPLIT.labels)[1]
    assert "the head alone is not surpassed" in capsys.readouterr().out
