"""What searches may set, as people write it."""

import shutil

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from scripts.search_space import (
    check_space,
    default_specs,
    parse_space,
    to_settings,
    values_of_default,
)
from tests.helpers.project import PROJECT
from transfer.core.errors import UserError
from transfer.core.params_file import load_params


@pytest.mark.parametrize(
    ("spec", "distribution"),
    [
        ("a=tag(log,interval(1e-4,3e-3))", FloatDistribution(1e-4, 3e-3, log=True)),
        ("a=interval(0,1)", FloatDistribution(0, 1)),
        ("a=range(3,10,2)", IntDistribution(3, 9, step=2)),
        ("a=range(0,1,0.25)", FloatDistribution(0, 0.75, step=0.25)),
        ("a=0.0,0.2", CategoricalDistribution([0.0, 0.2])),
        ("a=choice(auto,'block 1',5)", CategoricalDistribution(["auto", "block 1", 5])),
        ("a=true,false,null", CategoricalDistribution([True, False, None])),
    ],
)
def test_a_space_is_written_in_the_language_of_sweeps(spec, distribution):
    assert parse_space([spec]) == {"a": distribution}


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("dropout", "missing EQUAL"),
        ("dropout=0.5", "a value for all trials belongs into params.yaml"),
        ("+dropout=0.1,0.5", "a value for all trials"),
        ("dropout=interval(1,0)", "low"),
        ("dropout=tag(log,interval(0,1))", "low"),
        ("dropout=glob(*)", "glob"),
    ],
)
def test_a_space_that_is_not_understood_is_refused_in_one_line(spec, why):
    with pytest.raises(UserError, match=r"^expected name=1,2 .*received ") as caught:
        parse_space([spec])
    assert why in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("drop_out=0.1,0.2", r"drop_out \(did you mean dropout\?\)"),
        ("dropout=interval(0.1,1.5)", "dropout: input should be less than 1; received 1.5"),
        ("flip=none,upside_down", "flip: input should be 'none'.*received 'upside_down'"),
    ],
)
def test_what_no_stage_would_take_is_refused_before_any_work(tmp_path, monkeypatch, spec, message):
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        check_space(parse_space([spec]))


def test_the_default_space_is_allowed_and_has_the_default_in_it(monkeypatch):
    monkeypatch.chdir(PROJECT)
    params = load_params()
    space = parse_space(default_specs(params))
    check_space(space)
    written = {name: "auto" for name in space} | {"mixup": 0.0, "weight_decay": 0.0}
    metrics = {"learning_rate": 0.001, "first_layer": 98, "epochs": 6}
    assert values_of_default(space, written, dict(params), metrics) == {
        "fine_tune_learning_rate": 0.001,
        "random_resized_crop": 0.3,
        "label_smoothing": 0.1,
        "mixup": 0.0,
        "weight_decay": 0.0,
        "fine_tune_at": 98,
    }


def test_a_default_outside_of_the_space_is_left_out():
    space = parse_space(["rotation=0.1,0.2", "fine_tune_epochs=auto,20", "dropout=range(1,3)"])
    filled = {"rotation": 0.0, "fine_tune_epochs": "auto", "dropout": 0.2}
    written = filled | {"rotation": "auto"}
    assert values_of_default(space, written, filled, {"epochs": 20}) == {"fine_tune_epochs": "auto"}


def test_other_backbones_have_other_layers_and_other_recipes_no_default_space(monkeypatch):
    monkeypatch.chdir(PROJECT)
    params = load_params()
    other = params.model_copy(update={"backbone": "ResNet50"})
    assert "fine_tune_at" not in parse_space(default_specs(other))
    with pytest.raises(UserError, match="expected robust, .*received tutorial; give a space"):
        default_specs(params.model_copy(update={"recipe": "tutorial"}))


def test_settings_have_three_digits():
    values = {"rate": 0.00123456, "layer": 98, "flip": "none", "crop": 0.30000000000000004}
    assert to_settings(values) == {"rate": 0.00123, "layer": 98, "flip": "none", "crop": 0.3}
