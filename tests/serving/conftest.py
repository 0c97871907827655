import json

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.helpers.browser import CHROMIUM, FLAGS
from transfer.core.runtime import keras
from transfer.models.classifier import build_classifier
from transfer.serving import export
from transfer.serving.engine import DESCRIPTION, Description


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def requested():
    """Return the addresses that a page requested."""
    return []


@pytest.fixture(scope="session")
def description():
    return Description(["cats", "小狗"], True, "ab" * 32, "v1-2-gabc", None)


@pytest.fixture(scope="session")
def small_classifier():
    """Return a classifier that tells bright from dark."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    base = keras.Model(inputs, keras.layers.Conv2D(4, 3, strides=2)(inputs), name="base")
    return build_classifier(base, "MobileNetV2", 2, 0.0, seed=0)


@pytest.fixture(scope="session")
def exported(tmp_path_factory, small_classifier, description):
    """Return a small classifier and its .onnx file."""
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export.write_onnx(export.freeze(small_classifier), path, description)
    return small_classifier, path


@pytest.fixture
def drawn(tmp_path):
    """Return an .onnx file whose outputs are plain: the mean red and green, and the mean blue."""

    def draw(**described):
        types = {"pixels": (onnx.TensorProto.UINT8, ["N", 4, 4, 3])}
        types |= {"probabilities": (onnx.TensorProto.FLOAT, ["N", 2])}
        types |= {"familiarity": (onnx.TensorProto.FLOAT, ["N"])}
        pixels, *outputs = (helper.make_tensor_value_info(n, *t) for n, t in types.items())
        constants = {"axes": np.array([1, 2]), "scale": np.float32(255), "blue": np.array(2)}
        constants |= {"two": np.array([0, 1])}
        nodes = [
            helper.make_node("Cast", ["pixels"], ["float"], to=onnx.TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
            helper.make_node("Div", ["mean", "scale"], ["scaled"]),
            helper.make_node("Gather", ["scaled", "two"], ["probabilities"], axis=1),
            helper.make_node("Gather", ["scaled", "blue"], ["familiarity"], axis=1),
        ]
        initial = [onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
        graph = helper.make_graph(nodes, "graph", [pixels], outputs, initial)
        opset = helper.make_opsetid("", 18)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
        if described:
            helper.set_model_props(model, {DESCRIPTION: json.dumps(described)})
        path = tmp_path / "drawn.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return draw
