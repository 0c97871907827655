"""Predictions as a user asks for them, from the command line."""

import csv
import http.server
import io
import json
import shutil
import threading
from functools import partial

import pytest

from tests.helpers.project import PROJECT
from tests.helpers.repository import Repository

PREDICT = ("python", "-m", "scripts.predict")


@pytest.fixture(scope="module")
def place(repository, tmp_path_factory):
    """Return a folder with the code, the model, some pictures and nothing of the training."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for part in ("scripts", "transfer"):
        shutil.copytree(PROJECT / part, folder / part)
    (folder / "models").mkdir()
    shutil.copy(repository.folder / "models/model.keras", folder / "models")
    with (repository.folder / "metrics/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        target = folder / "pictures" / row["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository.folder / "data/raw" / row["path"], target)
    place = Repository(folder)
    place.expected = {f"pictures/{row['path']}": row for row in rows}
    return place


def check(rows, expected):
    for row in rows:
        other = expected[row["picture"]]
        assert row["class"] == other["prediction"]
        assert float(row["probability"]) == pytest.approx(float(other["probability"]), abs=1e-3)


def test_a_folder_as_csv_says_what_evaluate_said(place):
    rows = list(csv.DictReader(io.StringIO(place.run(*PREDICT, "--csv", "pictures").stdout)))
    assert {row["picture"] for row in rows} == set(place.expected)
    check(rows, place.expected)
    assert float(rows[0]["cats"]) + float(rows[0]["dogs"]) == pytest.approx(1, abs=1e-4)


def test_patterns_and_urls_as_json_and_what_cannot_be_read_is_named(place):
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=place.folder)
    handler.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/{min(place.expected)}"
    (place.folder / "broken.jpg").write_bytes(b"no picture")
    arguments = ("pictures/*/*.jpg", url, "broken.jpg", "missing.jpg")
    done = place.run(*PREDICT, "--json", *arguments, check=False)
    server.shutdown()
    server.server_close()
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(place.expected) + 1
    check(rows, place.expected | {url: place.expected[min(place.expected)]})
    assert rows[0]["probabilities"][rows[0]["class"]] == rows[0]["probability"]
    assert done.returncode == 1
    assert "broken.jpg: " in done.stderr
    assert "missing.jpg: FileNotFoundError: No such file or directory" in done.stderr
    assert done.stderr.endswith(f"error: 2 of {len(rows) + 2} pictures could not be read\n")
    assert "Traceback" not in done.stderr


def test_standard_input_is_a_picture_or_a_list_of_pictures(place):
    first, second = sorted(place.expected)[:2]
    line = ("sh", "-c", f"printf '{first}\\n{second}\\n' | python -m scripts.predict -")
    header, *rows = place.run(*line).stdout.splitlines()
    assert header.split() == ["class", "probability", "picture"]
    check(
        [dict(zip(header.split(), row.split(), strict=True)) for row in rows],
        place.expected,
    )
    assert [row.split()[2] for row in rows] == [first, second]
    (row,) = place.run("sh", "-c", f"python -m scripts.predict - < {first}").stdout.splitlines()[1:]
    assert row.split()[0] == place.expected[first]["prediction"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("transfer",), "error: there are no pictures in transfer"),
        (("--model", "none.keras", "pictures"), "error: .*none.keras"),
    ],
)
def test_what_cannot_work_is_one_line(place, arguments, message):
    done = place.run(*PREDICT, *arguments, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and message.split(".*")[-1].strip() in done.stderr
