import re

import pytest
import yaml

from tests.helpers.project import PROJECT
from transfer.core.errors import UserError
from transfer.core.params import Params
from transfer.core.recipes import AUTO, RECIPES, ROBUST, describe

TEXT = (PROJECT / "params.yaml").read_text()
DEFAULTS = yaml.safe_load(TEXT)


def test_the_defaults_are_those_of_the_robust_recipe(load):
    params = load()
    assert set(DEFAULTS) == set(Params.model_fields)
    assert params.model_dump().items() >= ROBUST.items()
    assert params.recipe == "robust"


def test_the_tutorials_recipe_has_its_published_values(load):
    params = load(recipe="tutorial")
    assert (params.image_size, params.batch_size, params.fine_tune_at) == (160, 32, 100)
    assert (params.head_epochs, params.head_learning_rate) == (10, 1e-4)
    assert (params.fine_tune_epochs, params.fine_tune_learning_rate) == (10, 1e-5)
    assert (params.flip, params.rotation, params.dropout) == ("horizontal", 0.2, 0.2)
    assert (params.precision, params.views) == ("float32", 0)


@pytest.mark.parametrize("recipe", RECIPES)
def test_params_yaml_tells_what_auto_stands_for(recipe):
    comments = dict(re.findall(r"(?m)^(\w+): auto +# (.*)$", TEXT))
    assert set(comments) == set(RECIPES[recipe])
    for name, value in RECIPES[recipe].items():
        if value != AUTO:
            written = f"{value:f}".rstrip("0").rstrip(".") if type(value) is float else str(value)
            assert re.search(rf"(?<![\d.]){re.escape(written.lower())}(?!\.?\d)", comments[name]), (
                name
            )


def test_a_value_of_ones_own_wins_over_the_recipe_and_is_said(load):
    params = load(fine_tune_at=120, fine_tune_learning_rate=3e-4)
    assert (params.fine_tune_at, params.fine_tune_learning_rate) == (120, 3e-4)
    assert params.head_solver == "lbfgs"
    line = describe(dict(params))
    assert line.endswith("; set instead: fine_tune_learning_rate 0.0003, fine_tune_at 120")
    assert "head_epochs" not in line


@pytest.mark.parametrize("name", ["head_epochs", "head_learning_rate"])
def test_a_value_for_adam_asks_for_adam(load, name):
    assert load(**{name: 1}).head_solver == "adam"
    assert load(**{name: 1}, head_solver="lbfgs").head_solver == "lbfgs"


@pytest.mark.parametrize("name", ["head_epochs", "fine_tune_epochs"])
def test_a_single_epoch_has_no_warm_up(load, name):
    assert load(**{name: 1}).warmup_epochs == 0
    assert load(**{name: 2}).warmup_epochs == 1


def test_auto_is_refused_where_no_recipe_says_what_it_is(load):
    with pytest.raises(UserError, match="batch_size: input should be a valid integer; received 'a"):
        load(batch_size=AUTO)
