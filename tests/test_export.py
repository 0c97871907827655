import subprocess
import sys

import numpy as np
import pytest
from test_training import make_classifier, make_split

from scripts import export as script
from transfer import export
from transfer.errors import UserError
from transfer.model import unfreeze

SPLIT = make_split(pictures=12)
PICTURES = SPLIT.images[SPLIT.rows]


@pytest.fixture(params=[2, 3], scope="module")
def classifier(request):
    classifier = make_classifier(request.param)
    unfreeze(classifier.get_layer("base"), 0)
    return classifier


# TensorFlow's converter uses its own interpreter, which it says will go.
@pytest.mark.filterwarnings("ignore:[\\s\\S]*tf.lite.Interpreter is deprecated:UserWarning")
def test_each_format_says_what_keras_says(classifier, tmp_path):
    expected = export.open_keras(classifier)(PICTURES)
    assert expected.std(axis=0).min() > 1e-4  # the pictures differ
    infer = export.freeze(classifier)
    export.write_saved_model(infer, tmp_path / "saved_model")
    export.write_litert(tmp_path / "saved_model", tmp_path / "model.tflite")
    export.write_litert(tmp_path / "saved_model", tmp_path / "int8.tflite", PICTURES)
    export.write_onnx(infer, tmp_path / "model.onnx")
    opened = {
        "saved_model": export.open_saved_model(tmp_path / "saved_model"),
        "model.onnx": export.open_onnx(tmp_path / "model.onnx"),
    }
    for predict in opened.values():
        np.testing.assert_allclose(predict(PICTURES), expected, atol=script.TOLERANCE)
    one_by_one = {
        name: np.concatenate([export.open_litert(tmp_path / name)(p[None]) for p in PICTURES])
        for name in ("model.tflite", "int8.tflite")
    }
    np.testing.assert_allclose(one_by_one["model.tflite"], expected, atol=script.TOLERANCE)
    np.testing.assert_allclose(one_by_one["int8.tflite"], expected, atol=0.25)
    sizes = {name: (tmp_path / name).stat().st_size for name in one_by_one}
    assert sizes["int8.tflite"] < 0.45 * sizes["model.tflite"]


def rows(**changed):
    """Return what `check` takes: of ten pictures, Keras has nine right."""
    labels = np.array([0, 1] * 5)
    expected = np.where(labels[:, None] == [0, 1], 0.8, 0.2)
    expected[0] = 0.4, 0.6
    formats = {"model.onnx": expected, script.INT8: expected} | changed
    return [(script.KERAS, expected, 1, 1), *((n, p, 1, 1) for n, p in formats.items())], labels


def test_what_differs_is_refused():
    (_, expected, *_), labels = rows()[0][0], rows()[1]
    script.check(*rows())
    script.check(*rows(**{"model.onnx": expected + 0.0009}))
    for wrong in (expected + 0.0011, expected * np.nan, expected[:, :1]):
        with pytest.raises(UserError, match="model.onnx: a probability differs from Keras' by"):
            script.check(*rows(**{"model.onnx": wrong}))
    script.check(*rows(**{script.INT8: np.roll(expected, 0) + 0.05}))
    with pytest.raises(UserError, match=r"int8.tflite: accuracy 0.1000, expected at least 0.59"):
        script.check(*rows(**{script.INT8: expected[:, ::-1]}))
    assert len(labels) == 10


def run(folder):
    command = [sys.executable, "-m", "scripts.export"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_command_writes_all_and_keeps_the_old_where_it_cannot(repository):
    done = run(repository.folder)
    assert done.returncode == 0, done.stderr
    exports = repository.folder / "exports"
    names = {"labels.txt", "table.md", "saved_model", "model.tflite", script.INT8, "model.onnx"}
    assert {path.name for path in exports.iterdir()} == names
    assert (exports / "labels.txt").read_text() == "cats\ndogs\n"
    table = (exports / "table.md").read_text()
    assert [row.split(" | ")[0] for row in table.splitlines()[2:]] == [
        f"| {name}" for name in (script.KERAS, "saved_model", "model.tflite", script.INT8)
    ] + ["| model.onnx"]
    assert table in done.stdout and "Traceback" not in done.stderr

    model = repository.folder / "models/model.keras"
    model.rename(model.with_suffix(".away"))
    done = run(repository.folder)
    model.with_suffix(".away").rename(model)
    assert (done.returncode, done.stderr) == (
        1,
        "error: there is no models/model.keras; dvc pull fetches it, dvc repro makes it\n",
    )
    assert (exports / "table.md").read_text() == table
