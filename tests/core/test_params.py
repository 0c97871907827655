import math
import re
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.project import PROJECT
from transfer.core.errors import UserError
from transfer.core.params import Params
from transfer.core.params_file import MAX_BYTES, load_params

TEXT = (PROJECT / "params.yaml").read_text()
DEFAULTS = yaml.safe_load(TEXT)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, 1, 32, 2**31, 10**400, -(10**400), "160", "1e-3", "0x10", "", " ", "\0"]),
    st.floats(),
    st.text(max_size=20),
    st.dates(),
    st.binary(max_size=5),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
# No numbers: what is one differs between YAML 1.1, which the test writes, and 1.2.
NAMES = st.text(st.characters(exclude_characters=":0123456789"), max_size=9)
quick = settings(max_examples=20, derandomize=True, deadline=None, database=None)


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
        (
            "data_url",
            "a\nb",
            "data_url: input should be a line of text, without control characters",
        ),
        ("base_weights", "a\0b", "base_weights: input should be a line of text, without control"),
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


def test_fractions_must_leave_images_to_train_on(load):
    with pytest.raises(UserError, match=r"must be below 1.*received 0\.5 \+ 0\.5$"):
        load(val_fraction=0.5, test_fraction=0.5)


def test_warm_up_must_leave_epochs_of_both_phases(load):
    assert load(warmup_epochs=2, head_epochs=3, fine_tune_epochs=3).warmup_epochs == 2
    with pytest.raises(UserError, match="must be below fine_tune_epochs.*received 3 of 3"):
        load(warmup_epochs=3, head_epochs=5, fine_tune_epochs=3)


@pytest.mark.parametrize(
    ("old", "message"),
    [
        ("random_crop", "is called random_resized_crop now"),
        ("launcher", "is no parameter any more: set the environment variable TRANSFER_LAUNCHER"),
        ("workers", "is no parameter any more: set the environment variable TRANSFER_WORKERS"),
        ("strategy", "is no parameter any more: set the environment variable TRANSFER_STRATEGY"),
    ],
)
def test_an_earlier_name_leads_to_what_took_its_place(load, old, message):
    with pytest.raises(UserError, match=f": {old}: {message}; received 0.1$"):
        load(**{old: 0.1})


def test_every_parameter_says_what_it_does():
    for name, field in Params.model_fields.items():
        assert re.fullmatch(r".{15,}[.)]", field.description), name


def test_unknown_parameter_gets_a_hint_and_missing_ones_a_pointer(load):
    with pytest.raises(UserError) as caught:
        load(without=["fine_tune_at"], fine_tun_at=3, zzz=1)
    lines = str(caught.value).split("\nerror: ")
    assert [line.split("params.yaml: ")[1] for line in lines] == [
        "fine_tune_at: missing; docs/parameters.md lists every parameter with its default",
        "fine_tun_at: unknown parameter (did you mean fine_tune_at?); received 3",
        "zzz: unknown parameter; received 1",
    ]


BOMB = "".join(f"x{i}: &{i} [{', '.join([f'*{i - 1}'] * 9)}]\n" for i in range(1, 12))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- a\n- b\n", "expected `name: value` lines; received ['a', 'b']"),
        (b"", "expected `name: value` lines; received None"),
        (b"a: [", "not valid YAML: line 1, column 5: expected the node content, but found"),
        (b"seed: 1\nseed: 2\n", 'not valid YAML: line 2, column 1: found duplicate key "seed"'),
        (b"seed: 1\n\tviews: 2\n", "not valid YAML: line 2, column 1: found character '\\t'"),
        (b"seed: !!python/object/apply:os.abort []", "could not determine a constructor for the"),
        (b"seed: *x", "found undefined alias 'x'"),
        (b"seed: 1\n---\nseed: 1\n", "but found another document"),
        (b"data_url: K\xe4tzchen", "unacceptable character #x00e4"),
        (b"data_url: 2024-13-45", "not valid YAML: month must be in 1..12"),
        (b"seed: " + b"1" * 5000, "not valid YAML: Exceeds the limit (4300 digits)"),
        (b"seed: " + b"[" * 2000, "not valid YAML: maximum recursion depth exceeded"),
        (b"#" * (MAX_BYTES + 1), "expected at most 100,000 bytes; received more"),
    ],
)
def test_files_that_hold_no_parameters_are_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path}[: ].*{re.escape(message)}") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(TEXT + '"s\\uD800\\n": 1\n')
    with pytest.raises(UserError, match=r"yaml: s\\\\ud800\\n: unknown parameter; received 1$"):
        load_params(path)


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b"%YAML 1.2\n---\n"])
def test_what_editors_put_first_is_no_fault(tmp_path, start):
    path = tmp_path / "params.yaml"
    path.write_bytes(start + TEXT.encode())
    assert load_params(path) == load_params(PROJECT / "params.yaml")


def test_a_value_that_unfolds_to_gigabytes_is_cut(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(f"x0: &0 [a, b]\n{BOMB}{TEXT}".replace("seed: 0", "seed: *11"))
    started = time.monotonic()
    with pytest.raises(
        UserError, match=r"seed: input should be a valid integer.*\[\.\.\.\]"
    ) as caught:
        load_params(path)
    assert time.monotonic() - started < 5
    assert len(str(caught.value)) < 10_000


def refused(path):
    """Check that the parameters are valid (None), or return the names in the lines of the error."""
    try:
        assert set(load_params(path).model_dump()) == set(DEFAULTS)
        return None
    except UserError as error:
        lines = str(error).split("\nerror: ")
        assert all(line.isprintable() or ord(max(line)) > 127 for line in lines), lines
        assert all(line.startswith(f"{path}") for line in lines), lines
        return [line.removeprefix(f"{path}: ").split(":")[0] for line in lines]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("params") / "params.yaml"


@pytest.mark.parametrize("name", DEFAULTS)
@quick
@given(value=VALUES)
def test_any_value_is_taken_or_refused_by_its_name(path, name, value):
    path.write_text(yaml.safe_dump(DEFAULTS | {name: value}, allow_unicode=True), encoding="utf-8")
    assert refused(path) in (None, [name])


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_missing_parameter_and_an_empty_one_are_refused_by_their_name(path, name):
    path.write_text(yaml.safe_dump({key: v for key, v in DEFAULTS.items() if key != name}))
    assert refused(path) == [name]
    path.write_text(re.sub(f"(?m)^{name}:.*$", f"{name}:", TEXT))
    assert refused(path) == (None if name in ("data_sha256", "group_pattern") else [name])


def test_an_empty_text_means_no_hash(load):
    assert load(data_sha256="").data_sha256 is None  # as `dvc exp run -S data_sha256=` writes it


@quick
@given(values=st.dictionaries(st.sampled_from(list(DEFAULTS)) | NAMES, VALUES))
def test_every_mistake_gets_a_line(path, values):
    path.write_text(yaml.safe_dump(DEFAULTS | values, allow_unicode=True), encoding="utf-8")
    names = refused(path) or []
    unknown = set(values) - set(DEFAULTS)
    assert len(names) == len(set(names)) >= len(unknown)
    assert set(names) & set(DEFAULTS) <= set(values)


@quick
@given(
    start=st.integers(0, len(TEXT)),
    end=st.integers(0, 30),
    new=st.binary(max_size=20)
    | st.text("{}[]&*!|>'\"%@`#,?:-<~\n\t 0aé\0", max_size=9).map(str.encode),
)
def test_any_edit_of_the_file_is_taken_or_refused(path, start, end, new):
    content = TEXT.encode()
    path.write_bytes(content[:start] + new + content[start + end :])
    refused(path)


def test_a_missing_file_says_where_to_run_it(tmp_path):
    with pytest.raises(UserError, match="is missing; run this from the top of the repository"):
        load_params(tmp_path / "params.yaml")


def test_parameters_cannot_change(load):
    with pytest.raises(ValueError, match="frozen"):
        load().seed = 1
