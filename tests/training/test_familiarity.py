import numpy as np
import pytest

from stages.fine_tune import deliver
from tests.helpers.models import PARAMS, make_classifier, make_split, stored_split
from transfer.core.files import HEAD_MODEL, MODEL
from transfer.evaluation.prediction import predict
from transfer.models.classifier import load_model, save_model
from transfer.models.compiled import load_compiled
from transfer.models.description import Description


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "calibrate"), [(2, True), (3, False)])
def test_the_delivered_model_tells_unfamiliar_images(classes, calibrate, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    HEAD_MODEL.parent.mkdir()
    split, model = stored_split(tmp_path, make_split(60, classes)), make_classifier(classes)
    save_model(model, HEAD_MODEL, Description(split.class_names, crop_to_aspect_ratio=True))
    logits = model.predict(split.images[split.rows], verbose=0)
    params = PARAMS.model_copy(update={"calibrate": calibrate, "familiarity": True})
    found = deliver(model, 1.0, logits, split, split, params)
    before = model.get_weights()

    delivered = load_compiled(MODEL)
    description = delivered.description
    assert description.familiar_from == found["familiar_from"] > 0
    assert (description.temperature is not None) == calibrate
    for a, b in zip(load_model(MODEL).get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    _, scores = predict(delivered, split, "images")
    assert found["val_unfamiliar"] == np.mean(scores < found["familiar_from"]) == 1 / 60

    noise = make_split(60, classes)
    noise.images[:] = np.random.default_rng(1).integers(0, 256, noise.images.shape, np.uint8)
    _, scores = predict(delivered, noise, "images")
    assert np.mean(scores < found["familiar_from"]) > 0.9
