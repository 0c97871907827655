"""The folder for the Hugging Face hub, as its own library uploads and loads it."""

import ast
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image, ImageOps

from scripts import publish
from scripts.predict import main as predict
from tests.helpers.hub import REPOSITORY, hub
from transfer.core.files import list_files, sha256
from transfer.core.runtime import keras
from transfer.download.sample import draw_sample
from transfer.preprocessing.decoding import decode_image

DOWNLOAD = 'Path(snapshot_download("USER/NAME"))'
# Loads the model from the hub in both ways that README.md names.
LOAD = """
import keras, numpy as np
from huggingface_hub import hf_hub_download
models = [
    keras.saving.load_model("hf://user/name"),
    keras.models.load_model(hf_hub_download("user/name", "model.keras")),
]
for one, other in zip(*(model.get_weights() for model in models), strict=True):
    np.testing.assert_array_equal(one, other)
print(models[0].output_shape)
"""


def execute(code, **names):
    """Run code of README.md; return all names that it leaves."""
    exec(code, names)  # noqa: S102
    return names


@pytest.fixture
def folder(repository, tmp_path):
    return shutil.copytree(repository.folder, tmp_path / "repository")


@pytest.fixture
def published(folder, run_here):
    """Return a function that writes the folder and returns what was printed, once it is there."""

    def run(*arguments, code=0):
        done = run_here(folder, publish.main, *arguments)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    assert run().endswith("\nhf upload USER/NAME publish\n")
    return run


def test_it_holds_the_model_and_the_card_and_no_image_of_the_data(folder, published):
    figures = {f"plots/{name}.png" for name in publish.FIGURES}
    names = {*list_files(folder / "publish")}
    assert names - figures == {"README.md", "SHA256SUMS", "model.keras", *publish.FOR_KERAS}
    assert len(names & figures) >= 5
    check = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    subprocess.run(check, cwd=folder / "publish", check=True)
    assert sha256(folder / "publish/model.keras") == sha256(folder / "models/model.keras")

    readme = ModelCard.load(folder / "publish/README.md")
    metrics = json.loads((folder / "metrics/evaluate.json").read_text())
    results = {result.metric_type: result.metric_value for result in readme.data.eval_results}
    assert results["accuracy"] == metrics["accuracy"]
    assert "models/model.keras" not in readme.text
    shown = re.findall(r"!\[.+\]\((.+)\)", readme.text)
    assert set(shown) == names & figures


@pytest.mark.slow
def test_the_readmes_code_gives_what_predict_gives(folder, published, run_here, monkeypatch):
    draw_sample(folder / "drawn", 1)
    (image,) = (folder / "drawn/cats").iterdir()
    shutil.copy(image, folder / "image.jpg")
    expected = json.loads(run_here(folder, predict, "--json", "image.jpg").stdout)
    readme = (folder / "publish/README.md").read_text()
    (code,) = re.findall(r"```python\n(import json\n.*?)```", readme, re.DOTALL)
    assert DOWNLOAD in code
    monkeypatch.chdir(folder)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        execute(code.replace(DOWNLOAD, 'Path("publish")'))
    answer = ast.literal_eval(printed.getvalue().splitlines()[-1])
    assert answer == pytest.approx(expected["probabilities"], abs=1e-4)


@pytest.mark.parametrize("crop", [True, False])
def test_the_readmes_code_makes_images_square_as_the_pipeline_does(tmp_path, crop):
    draw_sample(tmp_path, 1)
    (path,) = (tmp_path / "cats").iterdir()
    expected, (width, height) = decode_image(path, 32, crop)
    assert width != height
    model = SimpleNamespace(input_shape=(None, 32, 32, 3))
    with Image.open(path) as image:
        code = f"image = {publish.SQUARE[crop]}"
        names = execute(code, model=model, image=image, Image=Image, ImageOps=ImageOps)
    np.testing.assert_array_equal(names["image"], expected)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [([[np.log(3)]], [0.25, 0.75]), ([[np.log(2), np.log(5), 0.0]], [0.25, 0.625, 0.125])],
)
def test_the_readmes_code_gives_probabilities(logits, expected):
    code = publish.PROBABILITIES[len(expected) == 2]
    names = execute(code, logits=np.array(logits, np.float32), np=np, keras=keras)
    assert names["probabilities"] == pytest.approx(expected)


def test_only_what_nobody_has_changed_is_replaced(folder, published):
    (folder / "publish/plots/reliability.png").unlink()
    assert "plots/reliability.png was added, changed or removed" in published(code=1)
    shutil.rmtree(folder / "publish")
    published()
    published()
    (folder / "publish/LICENSE").write_text("mine")
    assert "LICENSE was added, changed or removed" in published(code=1)
    assert (folder / "publish/LICENSE").read_text() == "mine"

    assert "plots: expected a new folder" in published("plots", code=1)
    assert "params.yaml: expected a new folder" in published("params.yaml", code=1)
    (folder / "new one").mkdir()
    assert published("new one").endswith("hf upload USER/NAME 'new one'\n")


def test_a_card_of_another_model_is_refused(folder, published):
    with (folder / "models/model.keras").open("ab") as file:
        file.write(b" ")
    assert "model_card.md is that of another models/model.keras" in published(code=1)


def test_exports_are_those_of_the_model_or_left_out(folder, published, drawn):
    described = {"classes": ["cats", "dogs"], "crop_to_aspect_ratio": True, "version": None}
    described |= {"familiar_from": None, "model_sha256": sha256(folder / "models/model.keras")}
    (folder / "exports").mkdir()
    shutil.copy(drawn(**described), folder / "exports/model.onnx")
    assert "left out" not in published()
    assert (folder / "publish/exports/model.onnx").exists()
    assert "`exports/` has it" in (folder / "publish/README.md").read_text()

    shutil.copy(drawn(**described | {"model_sha256": "0" * 64}), folder / "exports/model.onnx")
    assert "exports/ is left out" in published()
    assert not (folder / "publish/exports").exists()
    assert "`exports/` has it" not in (folder / "publish/README.md").read_text()


@pytest.mark.slow
def test_the_hubs_program_uploads_it_and_keras_loads_it_from_there(folder, published, tmp_path):
    with hub() as server:
        environment = os.environ | {
            "HF_ENDPOINT": server.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_TOKEN": "none",
        }

        def run(*command):
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        program = shutil.which("hf", path=Path(sys.executable).parent)
        run(program, "upload", REPOSITORY, "publish")
        names = list_files(folder / "publish")
        assert server.files == {name: (folder / "publish" / name).read_bytes() for name in names}
        assert server.cards == [(folder / "publish/README.md").read_text()]
        assert run(sys.executable, "-c", LOAD).endswith("(None, 1)\n")
