import pytest

from transfer.core.errors import UserError
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
