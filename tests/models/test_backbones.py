import inspect

import numpy as np
import pytest

from tests.helpers.models import write_keras_2
from transfer.core.errors import UserError
from transfer.core.recipes import AUTO
from transfer.core.runtime import keras
from transfer.download import fetch
from transfer.download.weights import load_base_weights
from transfer.download.wheels import tensors_sha256
from transfer.models.backbones import BACKBONES, build_base, build_preprocessing, first_layer
from transfer.models.classifier import build_classifier, load_model, save_model
from transfer.models.description import Description

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)


def test_all_families_of_keras_are_there():
    assert len(BACKBONES) > 35
    for name in ("MobileNetV3Large", "EfficientNetV2B0", "ConvNeXtTiny", "ResNet50", "VGG16"):
        assert name in BACKBONES


@pytest.mark.parametrize("backbone", BACKBONES)
def test_preprocessing_is_that_of_the_backbone(backbone):
    module = inspect.getmodule(BACKBONES[backbone])
    expected = module.preprocess_input(PIXELS.astype(np.float32))
    np.testing.assert_allclose(build_preprocessing(backbone)(PIXELS), expected, atol=1e-4)


@pytest.mark.parametrize(
    "backbone", ["EfficientNetLite0", "MobileNetV3Small", "ConvNeXtTiny", "ResNet50"]
)
def test_classifiers_on_other_backbones_are_saved_and_loaded(tmp_path, backbone):
    classifier = build_classifier(build_base(backbone, 32), backbone, 3, dropout=0.2, seed=0)
    save_model(classifier, tmp_path / "model.keras", Description(list("abc"), True))
    loaded = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(PIXELS), classifier(PIXELS))


def test_images_that_are_too_small_for_a_backbone_are_refused():
    with pytest.raises(UserError, match="image_size: InceptionV3: Input size must be at least 75x"):
        build_base("InceptionV3", 32)


def test_keras_weights_come_from_the_mirror(tmp_path, monkeypatch):
    monkeypatch.setenv(fetch.MIRROR, str(tmp_path))
    published = keras.applications.MobileNet(include_top=False, weights=None)
    write_keras_2(published, tmp_path / "mobilenet_1_0_224_tf_no_top.h5")
    base = build_base("MobileNet", 224)
    load_base_weights(base, "imagenet", "MobileNet")
    assert tensors_sha256(base) == tensors_sha256(published)


def test_keras_weights_with_another_hash_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(fetch.MIRROR, str(tmp_path))
    name = "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5"
    (tmp_path / name).write_bytes(b"not these")
    with pytest.raises(UserError, match=f"{name} is damaged or not the file.*expected MD5"):
        load_base_weights(build_base("MobileNetV3Small", 224), "imagenet", "MobileNetV3Small")


def test_auto_fine_tunes_from_the_start_of_a_block():
    base = build_base("MobileNetV2", 32)
    base.trainable = False
    assert base.layers[first_layer(base, AUTO)].name == "block_11_expand"
    assert first_layer(base, 100) == 100
    assert first_layer(base, "block_13_expand") == 116
