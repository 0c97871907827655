import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.helpers.models import (
    AUGMENTATION,
    PARAMS,
    fit_on,
    make_classifier,
    make_split,
    stored_split,
    train,
)
from transfer.core.errors import UserError
from transfer.core.files import KEPT_SECONDS
from transfer.core.runtime import keras
from transfer.models.classifier import unfreeze
from transfer.training.features import compute_features
from transfer.training.resume import TrainingState


@pytest.fixture
def state(tmp_path, monkeypatch):
    """Return the state of a stage that depends on `rate`, a file and a folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data/inner").mkdir(parents=True)
    for name in ("code.py", "data/inner/1.bin", "other.py"):
        (tmp_path / name).write_text(name)
    stage = {"deps": ["code.py", "data"], "params": ["seed", "fine_tune_at"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"fine_tune": stage}}))
    return TrainingState("fine_tune", PARAMS)


def fine_tune(epochs, state=None, **options):
    """Train with dropout and an optimizer that has a state; return history and all the weights."""
    classifier = make_classifier()
    unfreeze(classifier.get_layer("base"), 140)
    optimizer = keras.optimizers.RMSprop(1e-3)
    options |= {"state": state, "first_epoch": 3}
    history = train(classifier, make_split(), epochs, optimizer, **options)
    return history, [weight.tobytes() for weight in classifier.get_weights()]


def test_a_run_goes_on_from_its_last_epoch_to_the_same_bytes(state, capsys):
    undisturbed = fine_tune(4)
    fine_tune(2, state)
    assert "continuing an interrupted run" not in capsys.readouterr().out
    assert fine_tune(4, TrainingState("fine_tune", PARAMS)) == undisturbed
    assert "continuing an interrupted run: 2 of 4 epochs are done" in capsys.readouterr().out
    assert fine_tune(4, state) == undisturbed  # all epochs done, the outputs not yet written
    state.remove()
    assert list(state.path.parent.iterdir()) == []


def test_the_best_epoch_outlives_an_interruption(state):
    undisturbed = fine_tune(12, patience=2)
    epochs = len(undisturbed[0])
    assert epochs < 12
    for done in (epochs - 1, epochs):  # the best is behind, and all is over
        fine_tune(done, state, patience=2)
        assert fine_tune(12, state, patience=2) == undisturbed


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: b"no zip",
        lambda content: content[:3000] + bytes([content[3000] ^ 1]) + content[3001:],
    ],
)
def test_a_damaged_state_is_none(state, damage):
    variable = keras.Variable(np.ones(1000))
    state.save([variable], [(1, 0.5, 0.5, 0.5, 0.5)])
    assert state.restore([variable]) == [(1, 0.5, 0.5, 0.5, 0.5)]
    state.path.write_bytes(damage(state.path.read_bytes()))
    assert state.restore([variable]) == []


def test_no_state_is_unpickled(state):
    state.path.parent.mkdir(parents=True)
    np.savez(state.path, history=np.array([object()], dtype=object))
    assert state.restore([]) == []


def test_pythons_caches_make_no_difference(state):
    Path("data/__pycache__").mkdir()
    Path("data/__pycache__/code.cpython-311.pyc").write_text("compiled")
    assert TrainingState("fine_tune", PARAMS).path == state.path


@pytest.mark.parametrize("changed", ["code.py", "data/inner/1.bin", "data/inner/new.bin"])
def test_changed_code_or_data_has_a_state_of_its_own(state, changed):
    Path(changed).write_text("changed")
    assert TrainingState("fine_tune", PARAMS).path != state.path


def test_only_what_the_stage_reads_makes_a_difference(state):
    changed = PARAMS.model_copy(update={"fine_tune_at": 60})
    assert TrainingState("fine_tune", changed).path != state.path
    same = PARAMS.model_copy(update={"head_epochs": 99})
    Path("other.py").write_text("changed")
    assert TrainingState("fine_tune", same).path == state.path


def test_states_that_nobody_went_on_with_are_removed_after_a_month(state):
    state.path.parent.mkdir(parents=True)
    for name, age in (("old.npz", KEPT_SECONDS + 60), ("new.npz", KEPT_SECONDS - 60)):
        (state.path.parent / name).touch()
        os.utime(state.path.parent / name, (0, time.time() - age))
    state.remove()
    assert [path.name for path in state.path.parent.iterdir()] == ["new.npz"]


def test_training_goes_on_where_no_state_can_be_kept(state, capsys):
    state.path.parent.parent.parent.mkdir(exist_ok=True)
    state.path.parent.parent.write_text("a file where the user's cache should be")
    assert fine_tune(2, TrainingState("fine_tune", PARAMS)) == fine_tune(2)
    warning = "warning: an interrupted run could not continue from here on: "
    assert capsys.readouterr().out.count(warning) == 1
    state.remove()


def test_a_loss_that_is_no_number_ends_the_training():
    with pytest.raises(UserError, match="the loss became .* in epoch 1.*lower the learning rate"):
        train(make_classifier(), make_split(), optimizer=keras.optimizers.SGD(1e38))


def test_a_shard_that_is_cut_off_is_named(tmp_path):
    split, classifier = make_split(), make_classifier()
    cut = stored_split(tmp_path, split)
    path = tmp_path / "images" / cut.images.names[cut.images.shard_of[0]]
    path.write_bytes(path.read_bytes()[:-5000])
    features = compute_features(classifier, cut, split, AUGMENTATION, "float32")
    with pytest.raises(UserError, match=f"{path.name} is damaged: expected"):
        fit_on(features, classifier, split, epochs=1)


def test_a_lack_of_memory_in_a_worker_says_what_to_lower():
    split, classifier = make_split(), make_classifier()
    features = compute_features(classifier, split, split, AUGMENTATION, "float32")

    def without_memory(places, epoch):
        raise MemoryError

    with pytest.raises(UserError, match="memory is too small for batches of 4 .* lower batch_size"):
        fit_on(replace(features, train=without_memory), classifier, split, epochs=1)


def test_the_history_is_published_at_the_start_and_after_each_epoch(state):
    published = []
    whole = TrainingState("fine_tune", PARAMS, publish=lambda rows: published.append([*rows]))
    history, _ = fine_tune(2, whole)
    assert published == [[], history[:1], history]
    published.clear()
    history, _ = fine_tune(3, whole)
    assert published == [history[:2], history]
