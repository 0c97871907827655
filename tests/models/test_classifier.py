import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.project import PROJECT
from transfer.core.errors import UserError
from transfer.core.runtime import keras
from transfer.models.backbones import build_base
from transfer.models.classifier import (
    build_classifier,
    count_trainable_parameters,
    load_model,
    save_model,
    unfreeze,
)
from transfer.models.description import Description, read_description, read_familiarity
from transfer.models.familiarity import Familiarity


@pytest.fixture(scope="module")
def base():
    return build_base("MobileNetV2", 160)


def classifier_on(base, classes=2):
    return build_classifier(base, "MobileNetV2", classes, dropout=0.2, seed=0)


def test_base_is_the_tutorials(base):
    assert len(base.layers) == 154
    assert base.count_params() == 2_257_984


def test_head_on_the_frozen_base_has_the_tutorials_parameters(base):
    classifier = classifier_on(base)
    assert classifier.count_params() == 2_259_265
    assert count_trainable_parameters(classifier) == 1_281
    assert classifier.output_shape == (None, 1)


def test_fine_tuning_from_layer_100_has_the_tutorials_parameters(base):
    classifier = classifier_on(base)
    unfreeze(base, 100)
    assert count_trainable_parameters(classifier) == 1_862_721
    assert len(classifier.trainable_variables) == 56


def test_more_classes_have_one_logit_each(base):
    assert classifier_on(base, classes=5).output_shape == (None, 5)


def test_model_takes_raw_pixels_and_scales_them():
    keras.utils.set_random_seed(3)
    classifier = classifier_on(build_base("MobileNetV2", 32))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    assert classifier.input.dtype == "uint8"
    np.testing.assert_array_equal(classifier(pixels), classifier(pixels))
    scaled = classifier.get_layer("preprocessing")(pixels)
    np.testing.assert_allclose(scaled, pixels / 127.5 - 1, atol=1e-6)
    logits = classifier.get_layer("head")(classifier.get_layer("base")(scaled))
    np.testing.assert_allclose(classifier(pixels), logits, atol=1e-6)


def test_the_first_weights_of_the_head_depend_on_the_seed(base):
    kernels = [
        build_classifier(base, "MobileNetV2", 2, dropout=0, seed=seed)
        .get_layer("head")
        .get_weights()[0]
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[0] - kernels[2]).max() > 0.01


def test_saved_model_predicts_the_same(tmp_path):
    classifier = classifier_on(build_base("MobileNetV2", 32))
    unfreeze(classifier.get_layer("base"), 100)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    description = Description(["cats", "dogs"], crop_to_aspect_ratio=False)
    save_model(classifier, tmp_path / "model.keras", description)
    assert read_description(tmp_path / "model.keras") == description
    loaded = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(pixels), classifier(pixels))
    assert len(loaded.trainable_variables) == 56
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]


def save_numbered(path):
    """Build a model whose weights are the numbers of its arrays, and save it."""
    base = build_base("MobileNetV2", 32)
    base.set_weights([w * 0 + i for i, w in enumerate(base.get_weights())])
    model = build_classifier(base, "MobileNetV2", 3, 0.2, 0)
    familiarity = Familiarity(np.zeros(1280), np.eye(4, 1280))
    save_model(model, Path(path), Description(list("abc"), True), familiarity)


def test_a_saved_model_has_the_same_bytes_in_another_process(tmp_path):
    files = [tmp_path / "a.keras", tmp_path / "b.keras"]
    # Both new: Keras numbers the inputs of all models of a process, and the tests have made many.
    program = f"import sys; from {__name__} import save_numbered; save_numbered(sys.argv[1])"
    for file in files:
        subprocess.run([sys.executable, "-c", program, file], cwd=PROJECT, check=True)
    assert files[0].read_bytes() == files[1].read_bytes()
    with zipfile.ZipFile(files[0]) as saved:
        assert json.loads(saved.read("metadata.json"))["date_saved"] == ""


def test_what_tells_unfamiliar_images_is_in_the_models_file_and_keras_opens_it(tmp_path):
    save_numbered(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").output_shape == (None, 3)
    found = read_familiarity(tmp_path / "model.keras")
    np.testing.assert_array_equal(found.directions, np.eye(4, 1280))
    assert found.centre.shape == (1280,)

    plain = tmp_path / "plain.keras"
    save_model(load_model(tmp_path / "model.keras"), plain, Description(list("abc"), True))
    assert read_familiarity(plain) is None
    assert read_description(plain).familiar_from is None
    for stored in ("no array", "", "bm8gYXJyYXk=", 7):
        with zipfile.ZipFile(tmp_path / "bad.keras", "w") as file:
            file.writestr("metadata.json", json.dumps({"familiarity": stored}))
        with pytest.raises(UserError, match="bad.keras is damaged: familiarity in it can't be re"):
            read_familiarity(tmp_path / "bad.keras")


def test_keras_unpacks_no_model_on_the_disk(tmp_path):
    """It does if there are more entries than its own, and fails where it can't write."""
    save_numbered(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as saved:
        assert len(saved.namelist()) == 3
