import os
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.helpers.models import compiled, make_classifier, make_split
from tests.helpers.project import PROJECT
from transfer.core.errors import UserError
from transfer.core.files import KEPT_SECONDS
from transfer.core.runtime import keras
from transfer.models import compiled as module
from transfer.models import frozen
from transfer.models.backbones import build_base
from transfer.models.classifier import build_classifier, save_model
from transfer.models.compiled import keep, load_compiled
from transfer.models.description import Description
from transfer.models.features import compile_base
from transfer.models.inference import OnnxInference

WITHOUT_TENSORFLOW = """
import sys
from pathlib import Path
from transfer.models.compiled import load_compiled
load_compiled(Path(sys.argv[1]))
sys.exit("tensorflow" in sys.modules)
"""


@pytest.fixture(autouse=True)
def default_runtime(monkeypatch):
    for each in (frozen, module):
        monkeypatch.setattr(each, "FROZEN_RUNTIME", "onnxruntime")
    monkeypatch.setenv("TRANSFER_FROZEN_RUNTIME", "onnxruntime")


@pytest.fixture(scope="module")
def classifier():
    return make_classifier()


@pytest.fixture
def model(tmp_path, classifier):
    path = tmp_path / "model.keras"
    save_model(classifier, path, Description(["cats", "小狗"], False))
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/transfer-learning/compiled"


def test_a_model_is_converted_once_and_says_what_keras_says(model, classifier):
    split = make_split()
    pixels = split.images[split.rows]
    loaded = load_compiled(model)
    assert isinstance(loaded.base, OnnxInference) and loaded.size == 32
    assert loaded.description == Description(["cats", "小狗"], False)
    probabilities, familiarity = loaded.run(pixels)
    logits = classifier.predict(pixels, verbose=0)
    np.testing.assert_allclose(probabilities, module.to_probabilities(logits), atol=1e-4)
    assert familiarity is None
    again = load_compiled(model)
    np.testing.assert_array_equal(again.run(pixels)[0], probabilities)
    assert again.size == 32
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, model]
    assert subprocess.run(command, cwd=PROJECT).returncode == 0


def test_the_head_is_found_where_the_preprocessing_is_a_sequential_too(tmp_path):
    classifier = build_classifier(build_base("VGG16", 32), "VGG16", 3, 0.2, seed=0)
    assert isinstance(classifier.get_layer("preprocessing"), keras.Sequential)
    save_model(classifier, tmp_path / "model.keras", Description(["a", "b", "c"], False))
    loaded, split = load_compiled(tmp_path / "model.keras"), make_split()
    pixels = split.images[split.rows]
    logits = classifier.predict(pixels, verbose=0)
    found, _ = loaded.run(pixels)
    np.testing.assert_allclose(found, module.to_probabilities(logits), atol=1e-4)


def test_what_a_training_has_compiled_is_not_converted_again(model, classifier):
    keep(model, compile_base(classifier))
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, model]
    assert subprocess.run(command, cwd=PROJECT).returncode == 0


def test_a_damaged_file_is_made_again(model, cache):
    load_compiled(model)
    (kept,) = cache.iterdir()
    kept.write_bytes(b"damaged")
    assert isinstance(load_compiled(model).base, OnnxInference)
    assert kept.stat().st_size > 100


def test_another_model_has_another_file_and_old_ones_go(model, cache, classifier):
    load_compiled(model)
    (kept,) = cache.iterdir()
    os.utime(kept, (time.time() - KEPT_SECONDS - 9,) * 2)
    save_model(classifier, model, Description(["a", "b"], True))
    assert load_compiled(model).description.classes == ["a", "b"]
    (new,) = cache.iterdir()
    assert new != kept


def test_without_a_cache_it_predicts_all_the_same(model, cache, capsys):
    cache.parent.parent.write_text("a file where the cache should be")
    assert isinstance(load_compiled(model).base, OnnxInference)
    assert f"warning: {model} can't be kept compiled, so that " in capsys.readouterr().err


def test_where_tensorflow_runs_the_layers_nothing_is_kept(model, classifier, cache, monkeypatch):
    for each in (frozen, module):
        monkeypatch.setattr(each, "FROZEN_RUNTIME", "tensorflow")
    split = make_split()
    pixels = split.images[split.rows]
    found = load_compiled(model).run(pixels)[0]
    np.testing.assert_allclose(found, compiled(classifier).run(pixels)[0], atol=1e-6)
    assert not cache.exists()


def test_what_is_no_model_is_refused(tmp_path, cache):
    (tmp_path / "model.keras").write_bytes(b"no model")
    with pytest.raises(UserError, match="model.keras"):
        load_compiled(tmp_path / "model.keras")
    assert not cache.exists()
