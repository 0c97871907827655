"""List the layers of a backbone, to choose fine_tune_at.

    python -m scripts.layers [BACKBONE]

Without a name, it is the backbone of params.yaml.
"""

import argparse

from transfer.core.errors import run_main
from transfer.core.params_file import load_params
from transfer.models.backbones import build_base
from transfer.models.classifier import count_trainable_parameters, unfreeze

IMAGE_SIZE = 224  # every backbone takes it; neither layers nor parameters depend on it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbone", nargs="?", help="its name; docs/backbones.md")
    backbone = parser.parse_args().backbone or load_params().backbone
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
