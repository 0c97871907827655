import os
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.helpers.models import make_split
from tests.helpers.project import PROJECT
from transfer.core.errors import UserError
from transfer.core.files import KEPT_SECONDS
from transfer.models.classifier import Description, save_model
from transfer.serving.compiled import load_compiled
from transfer.serving.engine import Engine
from transfer.serving.predictor import Predictor, load_predictor

WITHOUT_TENSORFLOW = """
import sys
from pathlib import Path
from transfer.serving.compiled import load_compiled
load_compiled(Path(sys.argv[1]))
sys.exit("tensorflow" in sys.modules)
"""


@pytest.fixture
def model(tmp_path, small_classifier):
    path = tmp_path / "model.keras"
    save_model(small_classifier, path, Description(["cats", "小狗"], False))
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/transfer-learning/compiled"


def test_a_model_is_converted_once_and_says_what_keras_says(model, cache):
    split = make_split()
    pixels = split.images[split.rows]
    engine = load_compiled(model)
    assert isinstance(engine, Engine) and engine.description.classes == ["cats", "小狗"]
    assert not engine.description.crop_to_aspect_ratio
    probabilities, familiarity = engine.run(pixels)
    np.testing.assert_allclose(probabilities, load_predictor(model).predict(pixels), atol=1e-4)
    assert familiarity is None
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, model]
    assert subprocess.run(command, cwd=PROJECT).returncode == 0


def test_a_damaged_file_is_made_again(model, cache):
    load_compiled(model)
    (kept,) = cache.iterdir()
    kept.write_bytes(b"damaged")
    assert isinstance(load_compiled(model), Engine)
    assert kept.stat().st_size > 100


def test_another_model_has_another_file_and_old_ones_go(model, cache, small_classifier):
    load_compiled(model)
    (kept,) = cache.iterdir()
    os.utime(kept, (time.time() - KEPT_SECONDS - 9,) * 2)
    save_model(small_classifier, model, Description(["a", "b"], True))
    assert load_compiled(model).description.classes == ["a", "b"]
    (new,) = cache.iterdir()
    assert new != kept


def test_without_a_cache_it_predicts_all_the_same(model, cache, capsys):
    cache.parent.parent.write_text("a file where the cache should be")
    assert isinstance(load_compiled(model), Predictor)
    assert "the next start will take as long: " in capsys.readouterr().err


def test_what_is_no_model_is_refused(tmp_path, cache):
    (tmp_path / "model.keras").write_bytes(b"no model")
    with pytest.raises(UserError, match="model.keras"):
        load_compiled(tmp_path / "model.keras")
    assert not cache.exists()
