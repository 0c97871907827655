import pytest

from scripts.layers import layer_names
from transfer.core.errors import UserError
from transfer.core.layers import layer_index, layers_of_backbones
from transfer.models.backbones import BACKBONES


def test_every_backbone_has_its_line():
    assert list(layers_of_backbones()) == list(BACKBONES)


@pytest.mark.parametrize("backbone", ["MobileNetV2", "EfficientNetLite0", "VGG16"])
def test_the_table_has_the_layers_that_are_built(backbone):
    assert layers_of_backbones()[backbone] == layer_names(backbone)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_table_has_the_layers_of_every_backbone(backbone):
    assert layers_of_backbones()[backbone] == layer_names(backbone)


def test_a_layer_is_found_by_index_or_name_and_any_other_refused():
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
    load(views=1, fine_tune_at=1, views_at="block_13_expand")
    load(views=0, fine_tune_at=1, views_at="of another base")
    with pytest.raises(UserError, match=f"^{name}: .*from 0 to 153; received 154"):
        load(**({"views": 1, "fine_tune_at": 1, "views_at": 1} | {name: 154}))


def test_layers_are_those_of_the_backbone(load):
    assert load(backbone="VGG16", fine_tune_at="block5_conv1").fine_tune_at == "block5_conv1"
    with pytest.raises(UserError, match="^fine_tune_at: the base has 19 layers"):
        load(backbone="VGG16", fine_tune_at=100)


def test_an_unknown_backbone_is_refused(load):
    with pytest.raises(UserError, match="MobileNetV2, .*received 'MobilNetV2' .did you mean Mob"):
        load(backbone="MobilNetV2")
