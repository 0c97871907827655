"""List the layers of a backbone, to choose fine_tune_at.

    python -m scripts.layers [BACKBONE]

Without a name, it is the backbone of params.yaml. With --write, the names of the layers of every
backbone are written to the table that parameters are checked by.
"""

import argparse
import json

from transfer.core.errors import run_main
from transfer.core.files import replacing
from transfer.core.layers import TABLE, check_backbone
from transfer.core.params_file import load_params
from transfer.core.runtime import keras
from transfer.models.backbones import BACKBONES, build_base
from transfer.models.classifier import count_trainable_parameters, unfreeze

IMAGE_SIZE = 224  # every backbone takes it; neither layers nor parameters depend on it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbone", nargs="?", help="its name; docs/backbones.md")
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.name} anew")
    arguments = parser.parse_args()
    if arguments.write:
        write_table()
    else:
        list_layers(arguments.backbone or load_params().backbone)


def write_table() -> None:
    """Write the names of the layers of every backbone, a line for each."""
    table = {backbone: " ".join(layer_names(backbone)) for backbone in BACKBONES}
    with replacing(TABLE) as temporary:
        temporary.write_text(json.dumps(table, indent=0) + "\n")


def layer_names(backbone: str) -> list[str]:
    """Return the names of the layers of a backbone, as the first model that Keras builds."""
    keras.backend.clear_session()  # it numbers layers of a kind through all models
    return [layer.name for layer in build_base(backbone, IMAGE_SIZE).layers]


def list_layers(backbone: str) -> None:
    """Print a line for each layer.

    Args:
        backbone: Its name.

    Raises:
        UserError: There is no such backbone.
    """
    check_backbone(backbone)
    base = build_base(backbone, IMAGE_SIZE)
    print(f"{backbone}: {len(base.layers)} layers, {base.count_params():,} parameters\n")
    print(f"  at  {'layer':<35} {'type':<22} {'trainable':>12} {'from here up':>13}")
    for index, layer in enumerate(base.layers):
        unfreeze(base, index)
        print(
            f"{index:4}  {layer.name:<35} {type(layer).__name__:<22} "
            f"{count_trainable_parameters(layer):12,} {count_trainable_parameters(base):13,}"
        )


if __name__ == "__main__":
    run_main(main)
