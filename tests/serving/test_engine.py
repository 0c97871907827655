import io
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from transfer.core.errors import UserError
from transfer.serving import export
from transfer.serving.engine import load_engine


def test_it_answers_as_keras_and_holds_what_was_described(exported, description):
    classifier, path = exported
    engine = load_engine(path)
    assert engine.description == description and engine.size == 32
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    answers = engine.predict(pixels)
    expected = export.open_keras(classifier)(pixels)["probabilities"]
    for answer, probabilities in zip(answers, expected, strict=True):
        assert list(answer["probabilities"]) == description.classes
        np.testing.assert_allclose([*answer["probabilities"].values()], probabilities, atol=2e-5)
        assert answer["class"] == description.classes[probabilities.argmax()]
        assert answer["probability"] == max(answer["probabilities"].values())
        assert answer["familiarity"] is answer["familiar"] is None


@pytest.mark.parametrize(("threshold", "familiar"), [(0.2, True), (0.21, False), (None, None)])
def test_familiarity_is_compared_with_the_threshold(drawn, description, threshold, familiar):
    engine = load_engine(drawn(**asdict(replace(description, familiar_from=threshold))))
    (answer,) = engine.predict(np.full((1, 4, 4, 3), (51, 204, 51), np.uint8))
    assert answer == {
        "class": "小狗",
        "probability": 0.8,
        "probabilities": {"cats": 0.2, "小狗": 0.8},
        "familiarity": 0.2,
        "familiar": familiar,
    }


@pytest.mark.parametrize("crop", [True, False])
def test_images_are_made_square_as_in_the_training(drawn, description, crop):
    engine = load_engine(drawn(**asdict(replace(description, crop_to_aspect_ratio=crop))))
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 255
    file = io.BytesIO()
    Image.fromarray(wide).save(file, "PNG")
    pixels = engine.decode(file)
    assert pixels.shape == (4, 4, 3) and (pixels.min() > 200) == crop
    assert engine.decode(io.BytesIO(b"")).startswith("cannot identify it as BMP")


def test_what_is_no_export_is_refused_in_one_line(drawn, tmp_path):
    with pytest.raises(UserError, match=r"^there is no .*away\.onnx; `make export` makes it"):
        load_engine(tmp_path / "away.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    for path in (tmp_path / "bad.onnx", drawn(), drawn(classes=["a", "b"])):
        with pytest.raises(UserError, match=r"onnx: expected an .*`make export` makes it again"):
            load_engine(path)
