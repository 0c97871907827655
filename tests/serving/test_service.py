"""The service in a process of its own, asked over HTTP."""

import io
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import packages_distributions
from pathlib import Path

import jsonschema
import numpy as np
import psutil
import pytest
from packaging.utils import canonicalize_name
from PIL import Image

from tests.helpers.browser import assert_on_loopback
from tests.helpers.project import PROJECT, pins
from tests.helpers.service import FORM, form, read, serving
from transfer.preprocessing.decoding import try_decode
from transfer.serving import export

CUT = "the form ends before its last boundary"


def encoded(kind, side=40, seed=0):
    """Return an image of noise in a format."""
    noise = np.random.default_rng(seed).integers(0, 256, (side, side + 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="module")
def service(exported, tmp_path_factory):
    _, path = exported
    temporary = tmp_path_factory.mktemp("temporary")
    with serving(path, "--max-images", "4", "--max-mb", "3", TMPDIR=str(temporary)) as service:
        yield service
        assert [*temporary.iterdir()] == []


def test_answers_are_those_of_keras_in_the_order_of_the_images(service, exported, description):
    classifier, _ = exported
    # Over 1 MB; and Pillow would let libtiff read the file by its number, if it had one.
    deflated = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 256, (700, 700, 3), np.uint8)
    Image.fromarray(noise).save(deflated, "TIFF", compression="tiff_deflate")
    assert len(deflated.getvalue()) > 2**20
    files = [
        ("ü 猫.png", encoded("PNG")),
        ("same.jpg", encoded("JPEG", seed=1)),
        ("same.jpg", deflated.getvalue()),
        ("", encoded("WEBP", seed=2)),
    ]
    status, _, answer = service.ask(form(*files), FORM)
    assert status == 200 and answer["errors"] == []
    names = ["ü 猫.png", "same.jpg", "same.jpg", "images 4"]
    assert [prediction["image"] for prediction in answer["predictions"]] == names
    pixels = np.stack([try_decode(io.BytesIO(c), 32, True)[0] for _, c in files])
    received = [[*prediction["probabilities"].values()] for prediction in answer["predictions"]]
    expected = export.open_keras(classifier)(pixels)["probabilities"]
    np.testing.assert_allclose(received, expected, atol=2e-5)
    assert answer["model"] == {"sha256": description.model_sha256, "version": description.version}

    for (_, content), expected in zip(files, answer["predictions"], strict=True):
        status, _, alone = service.ask(content)
        assert (status, alone["predictions"]) == (200, [expected | {"image": "body"}])


def test_bad_images_are_named_and_the_others_predicted(service):
    good = encoded("JPEG")
    files = [("cut.jpg", good[:-300]), ("good.jpg", good), ("a\tb.txt", b"text"), ("empty", b"")]
    status, _, answer = service.ask(form(*files), FORM)
    assert status == 422
    assert [prediction["image"] for prediction in answer["predictions"]] == ["good.jpg"]
    reasons = {error["image"]: error["reason"] for error in answer["errors"]}
    assert [*reasons] == ["cut.jpg", "a\tb.txt", "empty"]
    assert reasons["cut.jpg"].startswith("OSError: image file is truncated")
    assert reasons["empty"] == "cannot identify it as BMP, GIF, JPEG, PNG, TIFF, WEBP"


@pytest.mark.parametrize(
    ("status", "body", "headers", "detail"),
    [
        (400, b"", {}, "expected an image, or a form with images; received none"),
        (400, form(), FORM, "expected an image, or a form with images; received none"),
        (400, form(("a.jpg", b"\xff\xd8" * 99))[:-9], FORM, CUT),
        (400, b"no form", FORM, "the form can't be read: "),
        (400, form(), {"Content-Type": "multipart/form-data"}, "the form can't be read: Missing b"),
        (400, form((b"\xe9.jpg", b"x")), FORM, "image 1: expected a file name in UTF-8"),
        (400, form(*[("a", b"x")] * 5), FORM, "the form can't be read: Too many files. Maximum nu"),
        (400, form(("a", b"x")).replace(b"; filename", b"; n"), FORM, "images: expected a file, "),
        (413, bytes(3_000_001), {}, "expected at most 3 MB; received more"),
        (413, iter([bytes(1_000_000)] * 4), {}, "expected at most 3 MB; received more"),
    ],
)
def test_requests_are_refused_with_the_reason(service, status, body, headers, detail):
    received, _, answer = service.ask(body, headers)
    assert received == status and answer["detail"].startswith(detail), answer


def test_other_paths_and_methods_are_refused(service):
    assert service.get("/predict")[::2] == (405, {"detail": "Method Not Allowed"})
    assert service.get("/docs")[::2] == (404, {"detail": "Not Found"})


def test_what_it_describes_is_what_it_answers(service, description):
    _, _, document = service.get("/openapi.json")

    def check(answer, path, method="post"):
        status, _, content = answer
        described = document["paths"][path][method]["responses"][str(status)]
        schema = described["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(content, schema, jsonschema.Draft202012Validator)
        return status, content

    image = encoded("PNG")
    asked = [service.ask(body) for body in (image, b"no image", b"", bytes(3_000_001))]
    assert [check(answer, "/predict")[0] for answer in asked] == [200, 422, 400, 413]
    status, state = check(service.get("/health"), "/health", "get")
    assert (status, state["status"], state["waiting_images"]) == (200, "ok", 0)
    assert (state["classes"], state["image_size"]) == (description.classes, 32)
    status, _, page = service.get("/")
    assert status == 200 and b"POST /predict" in page and b"At most 4 images, 3 MB" in page
    assert b"//" not in page  # no address of another server


def begin(connection, part, size):
    """Send the first part of a request of so many bytes."""
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", str(size))
    connection.endheaders(part)


def test_clients_that_go_away_or_come_slowly_disturb_nobody(service, exported):
    with socket.create_connection(service.address) as gone:
        gone.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
    assert service.ask(encoded("PNG"))[0] == 200
    with serving(exported[1], "--max-seconds", "1") as impatient:
        with impatient.connected() as slow:
            begin(slow, b"abc", 9)
            status, _, answer = read(slow)
        assert (status, answer["detail"]) == (408, "the request took over 1 s to come")


@pytest.mark.parametrize(
    ("options", "count", "detail"),
    [
        (("--max-waiting-images", "1"), 2, "too busy: over 1 images wait; try again later"),
        (("--max-waiting-mb", "0"), 1, "too busy: requests of over 0 MB wait; try again later"),
        (("--max-seconds", "0.5"), 16, "too busy: the answer took over 0.5 s; try again later"),
    ],
)
def test_a_busy_service_says_when_to_come_again(exported, options, count, detail):
    large = io.BytesIO()  # takes long to decode, but not to send
    Image.new("RGB", (9_000, 9_000)).save(large, "PNG")
    with serving(exported[1], *options) as service:
        status, headers, answer = service.ask(form(*[("a.png", large.getvalue())] * count), FORM)
        assert (status, answer["detail"], headers["Retry-After"]) == (503, detail, "1")
        if count == 2:
            assert service.ask(encoded("PNG"))[0] == 200


def test_a_stop_answers_what_was_begun_and_refuses_what_is_new(exported):
    body, statuses = encoded("JPEG", 400), []

    def work():
        with service.connected() as connection:
            headers = {}
            while headers.get("Connection") != "close":
                connection.request("POST", "/predict", body)
                status, headers, _ = read(connection)
                statuses.append(status)

    with (
        serving(exported[1]) as service,
        service.connected() as half,
        service.connected() as idle,
        ThreadPoolExecutor(8) as pool,
    ):
        begin(half, body[:1000], len(body))
        idle.connect()
        clients = [pool.submit(work) for _ in range(8)]
        time.sleep(1)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        idle.request("POST", "/predict", body)
        assert read(idle)[0] == 200
        for client in clients:
            client.result(60)  # raises, if a connection ended without an answer
        assert set(statuses) == {200} and len(statuses) >= 8
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(service.address)
        half.send(body[1000:])
        assert read(half)[0] == 200
        assert service.process.wait(10) == 0


def test_it_listens_on_loopback_only(service):
    assert_on_loopback(f"http://{':'.join(map(str, service.address))}", service.process)


def start(*options):
    command = [sys.executable, "-m", "service", *map(str, options)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    return done.returncode, done.stderr


def test_it_fails_in_one_line(service, exported, tmp_path):
    message = f"error: there is no {tmp_path}/a.onnx; `make export` makes it from models/model.k"
    code, error = start("--model", tmp_path / "a.onnx")
    assert (code, error.count("\n")) == (1, 1) and error.startswith(message)
    code, error = start("--model", exported[1], "--port", service.address[1])
    assert (code, error) == (
        1,
        f"error: --host 127.0.0.1 --port {service.address[1]}: Address already in use; "
        "choose another\n",
    )


def test_it_imports_only_what_its_lock_has():
    code = "import service.__main__, sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    distributions, locked = packages_distributions(), pins("service/requirements.lock")
    imported = {name for name in done.stdout.split() if name in distributions}
    imported -= {"_distutils_hack"}  # setuptools has Python import it at every start
    assert {"onnxruntime", "starlette"} <= imported
    assert {n for n in imported if canonicalize_name(distributions[n][0]) not in locked} == set()


@pytest.mark.slow
def test_it_starts_fast_and_small_in_an_environment_of_its_own(exported, tmp_path):
    for name in ("Makefile", "service", "transfer"):
        os.symlink(PROJECT / name, tmp_path / name)
    installed = tmp_path / ".venv/service/installed"
    done = subprocess.run(
        ["make", str(installed.relative_to(tmp_path)), f"PYTHON={sys.executable}", "VENV=.venv"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    if "No matching distribution" in done.stderr:
        pytest.skip("the package index is out of reach")
    assert done.returncode == 0, done.stderr
    python = str(installed.with_name("bin") / "python")
    assert not [*Path(installed.parent).rglob("tensorflow")]
    seconds = []
    for _ in range(2):
        started = time.monotonic()
        with serving(exported[1], python=python, folder=tmp_path) as service:
            assert service.get("/health")[0] == 200
            seconds.append(time.monotonic() - started)
            images = form(*[("a.jpg", encoded("JPEG", 500))] * 32)
            for _ in range(20):
                assert service.ask(images, FORM)[0] == 200
            assert psutil.Process(service.process.pid).memory_info().rss < 300e6
    assert min(seconds) < 2  # the first start also compiles Python
