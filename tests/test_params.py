import math

import pytest
import yaml
from conftest import PROJECT

from transfer.errors import UserError
from transfer.params import Params, layer_index, load_params

DEFAULTS = yaml.safe_load((PROJECT / "params.yaml").read_text())


@pytest.fixture
def load(tmp_path):
    def load(without=(), **changes):
        values = {key: v for key, v in (DEFAULTS | changes).items() if key not in without}
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(values))
        return load_params(path)

    return load


def test_defaults_are_the_tutorials():
    params = load_params(PROJECT / "params.yaml")
    assert set(DEFAULTS) == set(Params.model_fields)
    assert (params.image_size, params.batch_size, params.fine_tune_at) == (160, 32, 100)
    assert (params.head_epochs, params.head_learning_rate) == (10, 1e-4)
    assert (params.fine_tune_epochs, params.fine_tune_learning_rate) == (10, 1e-5)
    assert (params.flip, params.rotation, params.dropout) == ("horizontal", 0.2, 0.2)
    assert (params.precision, params.views) == ("float32", 0)


@pytest.mark.parametrize("written", ["1e-06", "1E-6", "1.0e-06", "0.000001"])
def test_every_way_to_write_a_small_number_is_a_number(tmp_path, written):
    path = tmp_path / "params.yaml"
    lines = yaml.safe_dump({k: v for k, v in DEFAULTS.items() if k != "fine_tune_learning_rate"})
    path.write_text(f"{lines}fine_tune_learning_rate: {written}\n")
    assert load_params(path).fine_tune_learning_rate == 1e-6


@pytest.mark.parametrize("name", ["fine_tune_at", "views_at"])
@pytest.mark.parametrize("value", [0, 153, "block_13_expand"])
def test_a_layer_is_an_index_or_a_name(load, name, value):
    assert getattr(load(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("fine_tune_at", -3, "greater than or equal to 0"),
        ("fine_tune_at", None, "a valid integer or a valid string"),
        ("fine_tune_at", 1.5, "a valid integer or a valid string"),
        ("head_epochs", "ten", "a valid integer"),
        ("head_epochs", 0, "greater than or equal to 1"),
        ("head_epochs", True, "a valid integer"),
        ("test_fraction", 1.5, "less than 1"),
        ("val_fraction", 0.0, "greater than 0"),
        ("max_rejected", 1.01, "less than or equal to 1"),
        ("max_rejected", -0.01, "greater than or equal to 0"),
        ("rotation", math.nan, "a finite number"),
        ("fine_tune_learning_rate", math.inf, "a finite number"),
        ("dropout", None, "a valid number"),
        ("image_size", 16, "greater than or equal to 32"),
        ("flip", "up", "'none', 'horizontal', 'vertical' or 'horizontal_and_vertical'"),
        ("precision", "float16", "'float32', 'mixed_float16' or 'mixed_bfloat16'"),
        ("views", -1, "greater than or equal to 0"),
        ("views_at", -1, "greater than or equal to 0"),
        ("views_gb", 0, "greater than 0"),
        ("crop_to_aspect_ratio", "yes", "a valid boolean"),
        ("data_sha256", "abc", "should match pattern"),
        ("seed", [1], "a valid integer"),
        ("fine_tune_at", "", "input should be a valid integer or string should have at least 1"),
    ],
)
def test_wrong_values_get_one_line(load, tmp_path, name, value, expected):
    with pytest.raises(UserError) as caught:
        load(**{name: value})
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'params.yaml'}: {name}: ")
    assert expected in message
    assert message.endswith(f"; received {value!r}")
    assert "\n" not in message


def test_fractions_must_leave_pictures_to_train_on(load):
    with pytest.raises(UserError, match=r"must be below 1.*received 0\.5 \+ 0\.5$"):
        load(val_fraction=0.5, test_fraction=0.5)


def test_unknown_parameter_gets_a_hint_and_missing_ones_a_pointer(load):
    with pytest.raises(UserError) as caught:
        load(without=["fine_tune_at"], fine_tun_at=3, zzz=1)
    lines = str(caught.value).split("\nerror: ")
    assert [line.split("params.yaml: ")[1] for line in lines] == [
        "fine_tune_at: missing; README.md lists every parameter with its default",
        "fine_tun_at: unknown parameter (did you mean fine_tune_at?); received 3",
        "zzz: unknown parameter; received 1",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [("- a\n- b\n", "expected `name: value` lines"), ("a: [", "not valid YAML"), ("", "expected")],
)
def test_files_that_hold_no_parameters(tmp_path, text, message):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load_params(path)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="is missing; run this from the top of the repository"):
        load_params(tmp_path / "params.yaml")


def test_layer_index():
    names = ["input", "conv", "block_1_expand"]
    for value in (2, "block_1_expand"):
        assert layer_index("views_at", value, names) == 2
    with pytest.raises(UserError, match="^views_at: .*3 layers.*from 0 to 2; received 3"):
        layer_index("views_at", 3, names)
    hint = r"^fine_tune_at: .*did you mean block_1_expand\?.*received 'block_1_expant'"
    with pytest.raises(UserError, match=hint):
        layer_index("fine_tune_at", "block_1_expant", names)


@pytest.mark.parametrize("name", ["fine_tune_at", "views_at"])
def test_every_parameter_that_names_a_layer_is_checked(load, name):
    names = ["input", "conv"]
    load(fine_tune_at=1, views_at="conv").check_layers(names)
    with pytest.raises(UserError, match=f"^{name}: .*received 2"):
        load(**({"fine_tune_at": 1, "views_at": 1} | {name: 2})).check_layers(names)


def test_parameters_cannot_change(load):
    with pytest.raises(ValueError, match="frozen"):
        load().seed = 1
