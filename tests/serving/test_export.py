from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from scripts import export as script
from tests.helpers.models import fit_on, make_split
from transfer.core.errors import UserError
from transfer.core.files import sha256
from transfer.core.runtime import keras
from transfer.models.classifier import build_classifier
from transfer.models.familiarity import learn_familiarity
from transfer.serving import export
from transfer.serving.engine import load_engine
from transfer.serving.export import PROBABILITIES
from transfer.training.augmentation import Augmentation
from transfer.training.features import compute_features


@pytest.fixture(params=[2, 3], scope="module")
def trained(request):
    """Return a small trained classifier, and the split that it was trained on."""
    split = make_split(24, request.param)
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(16, 3, strides=2, use_bias=False)(inputs)
    x = keras.layers.BatchNormalization(momentum=0.0)(x)
    x = keras.layers.DepthwiseConv2D(3)(keras.layers.ReLU(6)(x))
    x = keras.layers.Conv2D(16, 3, groups=16, activation="gelu")(x)
    base = keras.Model(inputs, x, name="base")
    base(split.images[split.rows] / np.float32(127.5) - 1, training=True)
    classifier = build_classifier(base, "MobileNetV2", request.param, 0.0, seed=0)
    features = compute_features(classifier, split, split, Augmentation(0), "float32")
    fit_on(features, classifier, split, epochs=30, optimizer=keras.optimizers.Adam(0.1))
    return classifier, split


# TensorFlow's converter uses TensorFlow's own interpreter, which is deprecated.
@pytest.mark.filterwarnings("ignore:[\\s\\S]*tf.lite.Interpreter is deprecated:UserWarning")
def test_each_format_agrees_with_keras(trained, description, tmp_path):
    classifier, split = trained
    images = split.images[split.rows]
    _, features = export.add_features(classifier).predict(images, verbose=0)
    familiarity = learn_familiarity(features[:9], 2)
    familiarity = replace(familiarity, directions=familiarity.directions[1:3])
    expected = export.open_keras(classifier, familiarity)(images)
    assert (expected[PROBABILITIES].argmax(axis=1) == split.labels).all()
    assert np.ptp(expected["familiarity"]) > 0.01
    infer, plain = export.freeze(classifier, familiarity), export.freeze(classifier)
    export.write_saved_model(infer, tmp_path / "saved_model")
    export.write_litert(infer, tmp_path / "model.tflite")
    export.write_litert(plain, tmp_path / "int8.tflite", images)
    export.write_onnx(infer, tmp_path / "model.onnx", description)
    opened = {
        "saved_model": export.open_saved_model(tmp_path / "saved_model"),
        "model.onnx": export.open_onnx(tmp_path / "model.onnx"),
    }
    for predict in opened.values():
        same(predict(images), expected, 1e-5)
    predict = export.open_litert(tmp_path / "model.tflite")
    rows = [predict(pixels[None]) for pixels in images]
    same({name: np.concatenate([row[name] for row in rows]) for name in rows[0]}, expected, 1e-5)
    predict = export.open_litert(tmp_path / "int8.tflite")
    rows = [predict(pixels[None]) for pixels in images]
    assert list(rows[0]) == [PROBABILITIES]
    probabilities = np.concatenate([row[PROBABILITIES] for row in rows])
    np.testing.assert_allclose(probabilities, expected[PROBABILITIES], atol=0.02)


def same(outputs, expected, tolerance):
    assert set(outputs) == set(expected)
    for name, array in expected.items():
        assert outputs[name].dtype == np.float32
        np.testing.assert_allclose(outputs[name], array, atol=tolerance)


LABELS = np.array([0, 1] * 5)
KERAS = np.where(LABELS[:, None] == [0, 1], 0.8, 0.2)
KERAS[0] = 0.4, 0.6  # a mistake


FAMILIARITY = np.linspace(0.5, 1, 10)


def check(familiarity=MappingProxyType({}), **changed):
    """Check formats, some of which return other probabilities or another familiarity."""
    formats = {script.KERAS: KERAS, "model.onnx": KERAS, script.INT8: KERAS} | changed
    script.check(
        [
            script.Trial(name, probabilities, familiarity.get(name, FAMILIARITY), 1, 1)
            for name, probabilities in formats.items()
        ],
        LABELS,
    )


def test_exports_that_differ_are_refused():
    check()
    check(**{"model.onnx": KERAS + 0.0009, script.INT8: KERAS + 0.05})
    for wrong in (KERAS + 0.0011, KERAS * np.nan, KERAS[:, :1]):
        with pytest.raises(UserError, match="model.onnx: an output differs from Keras' by"):
            check(**{"model.onnx": wrong})
    check(familiarity={script.INT8: None})
    for wrong in (FAMILIARITY + 0.0011, FAMILIARITY * np.nan, None):
        with pytest.raises(UserError, match="model.onnx: an output differs from Keras' by"):
            check(familiarity={"model.onnx": wrong})
    with pytest.raises(UserError, match=r"int8.tflite: accuracy 0.1000, expected at least 0.59"):
        check(**{script.INT8: KERAS[:, ::-1]})


def test_without_git_there_is_no_version(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert script.git_version() is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert script.git_version() is None


def test_the_command_writes_all_formats_and_keeps_old_exports_on_failure(repository, run_here):
    done = run_here(repository.folder, script.main)
    assert done.returncode == 0, done.stderr
    exports = repository.folder / "exports"
    names = {"labels.txt", "table.md", "saved_model", "model.tflite", script.INT8, "model.onnx"}
    assert {path.name for path in exports.iterdir()} == names
    assert (exports / script.INT8).stat().st_size < 0.45 * (exports / "model.tflite").stat().st_size
    assert (exports / "labels.txt").read_text() == "cats\ndogs\n"
    described = load_engine(exports / "model.onnx").description
    assert described.classes == ["cats", "dogs"]
    assert described.model_sha256 == sha256(repository.folder / "models/model.keras")
    version = repository.run("git", "describe", "--tags", "--always", "--dirty").stdout.strip()
    assert described.version == version != ""
    table = (exports / "table.md").read_text()
    assert [row.split(" | ")[0] for row in table.splitlines()[2:]] == [
        f"| {name}" for name in (script.KERAS, "saved_model", "model.tflite", script.INT8)
    ] + ["| model.onnx"]
    assert table in done.stdout and "Traceback" not in done.stderr

    model = repository.folder / "models/model.keras"
    model.rename(model.with_suffix(".away"))
    done = repository.run("python", "-m", "scripts.export", check=False)
    model.with_suffix(".away").rename(model)
    assert (done.returncode, done.stderr) == (
        1,
        "error: there is no models/model.keras; `dvc repro` makes it, "
        "`dvc pull models/model.keras` fetches it\n",
    )
    assert (exports / "table.md").read_text() == table
