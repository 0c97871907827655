"""The backbones and the names of their layers, known without building one, which takes seconds."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from transfer.core.errors import UserError, did_you_mean, shown
from transfer.core.params import Params
from transfer.core.recipes import AUTO

TABLE = Path(__file__).with_name("layers.json")  # python -m scripts.layers --write makes it


@cache
def layers_of_backbones() -> dict[str, list[str]]:
    """Return the names of the layers of each backbone without its top, from below."""
    return {name: names.split() for name, names in json.loads(TABLE.read_text()).items()}


def check_layers(params: Params) -> None:
    """Check the backbone and the parameters that name layers of it, views_at if there are views.

    Raises:
        UserError: There is no such backbone, or it has no such layer.
    """
    check_backbone(params.backbone)
    names = layers_of_backbones()[params.backbone]
    if params.fine_tune_at != AUTO:
        layer_index("fine_tune_at", params.fine_tune_at, names)
    if params.views:
        layer_index("views_at", params.views_at, names)


def check_backbone(backbone: str) -> None:
    """Check the name of a backbone.

    Raises:
        UserError: There is no such backbone.
    """
    known = layers_of_backbones()
    if backbone not in known:
        raise UserError(
            f"backbone: expected one of {', '.join(known)}; received {backbone!r}"
            f"{did_you_mean(backbone, list(known))}"
        )


def layer_index(parameter: str, value: int | str, layer_names: Sequence[str]) -> int:
    """Return the index of the layer that the value of a parameter means, an index or a name.

    Raises:
        UserError: Out of range, or no layer of that name.
    """
    if isinstance(value, str):
        if value in layer_names:
            return layer_names.index(value)
        raise UserError(
            f"{parameter}: the base has no layer of that name{did_you_mean(value, layer_names)}; "
            f"give a name or an index from 0 to {len(layer_names) - 1}; received {shown(value)}"
        )
    if value >= len(layer_names):
        raise UserError(
            f"{parameter}: the base has {len(layer_names)} layers, so the index must be from "
            f"0 to {len(layer_names) - 1}; received {shown(value)}"
        )
    return value
