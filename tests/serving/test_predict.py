"""Predictions on the command line."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

import scripts.predict
from tests.helpers.models import make_classifier, make_split, stored_split
from tests.helpers.project import PROJECT
from tests.helpers.repository import Repository
from tests.helpers.web import send, web
from transfer.models.classifier import save_model
from transfer.models.description import Description
from transfer.models.features import compile_base
from transfer.preprocessing.decoding import try_decode
from transfer.training.familiarity import measure_familiarity


@pytest.fixture(scope="module")
def elsewhere(repository, tmp_path_factory):
    """Return a folder with code, model, some images, and no data of the training."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for part in ("scripts", "transfer"):
        shutil.copytree(PROJECT / part, folder / part)
    (folder / "models").mkdir()
    shutil.copy(repository.folder / "models/model.keras", folder / "models")
    with (repository.folder / "metrics/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        target = folder / "images" / row["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository.folder / "data/raw" / row["path"], target)
    elsewhere = Repository(folder)
    elsewhere.expected = {f"images/{row['path']}": row for row in rows}
    return elsewhere


def check(rows, expected):
    for row in rows:
        other = expected[row["image"]]
        assert row["class"] == other["prediction"]
        assert float(row["probability"]) == pytest.approx(float(other["probability"]), abs=1e-3)


def test_csv_of_a_folder_agrees_with_the_evaluation(elsewhere):
    done = elsewhere.run("python", "-m", "scripts.predict", "--csv", "images")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {row["image"] for row in rows} == set(elsewhere.expected)
    check(rows, elsewhere.expected)
    assert float(rows[0]["cats"]) + float(rows[0]["dogs"]) == pytest.approx(1, abs=1e-4)


@pytest.fixture
def predict(run_here, elsewhere):
    """Return a function that runs the command there, but in this process."""
    return partial(run_here, elsewhere.folder, scripts.predict.main)


def test_json_of_patterns_and_urls_names_images_that_cannot_be_read(elsewhere, predict):
    image = min(elsewhere.expected)
    (elsewhere.folder / "broken.jpg").write_bytes(b"not an image")
    with web(send((elsewhere.folder / image).read_bytes())) as server:
        done = predict("--json", "images/*/*.jpg", server.url, "broken.jpg", "missing.jpg")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(elsewhere.expected) + 1
    check(rows, elsewhere.expected | {server.url: elsewhere.expected[image]})
    assert rows[0]["probabilities"][rows[0]["class"]] == rows[0]["probability"]
    assert done.returncode == 1
    assert "broken.jpg: " in done.stderr
    assert "missing.jpg: FileNotFoundError: No such file or directory" in done.stderr
    assert done.stderr.endswith(f"error: 2 of {len(rows) + 2} images could not be read\n")
    assert "Traceback" not in done.stderr


def test_standard_input_is_an_image_or_a_list_of_images(elsewhere, predict):
    first, second = sorted(elsewhere.expected)[:2]
    header, *rows = predict("-", stdin=f"{first}\n{second}\n".encode()).stdout.splitlines()
    assert header.split() == ["class", "probability", "familiar", "image"]
    check(
        [dict(zip(header.split(), row.split(), strict=True)) for row in rows],
        elsewhere.expected,
    )
    assert [row.split()[3] for row in rows] == [first, second]
    (row,) = predict("-", stdin=(elsewhere.folder / first).read_bytes()).stdout.splitlines()[1:]
    assert row.split()[0] == elsewhere.expected[first]["prediction"]


def test_an_image_of_something_else_is_unfamiliar_and_only_a_model_that_can_tell_says_so(
    predict, tmp_path
):
    split, model = stored_split(tmp_path, make_split(60)), make_classifier()
    logits = model.predict(split.images[split.rows], verbose=0)
    familiarity, limit, _ = measure_familiarity(compile_base(model), split, split, logits)
    description = Description(split.class_names, crop_to_aspect_ratio=True)
    save_model(model, tmp_path / "plain.keras", description)
    described = replace(description, familiar_from=limit)
    save_model(model, tmp_path / "model.keras", described, familiarity)
    noise = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    known = split.images[split.rows[:3]]
    images = {"noise.png": noise} | {f"{i}.png": pixels for i, pixels in enumerate(known)}
    for name, pixels in images.items():
        Image.fromarray(pixels).save(tmp_path / name)
    names = [tmp_path / name for name in images]

    able = ("--model", tmp_path / "model.keras", *names)
    rows = list(csv.DictReader(io.StringIO(predict("--csv", *able).stdout)))
    assert [row["familiar"] for row in rows] == ["no", "yes", "yes", "yes"]
    rows = [json.loads(line) for line in predict("--json", *able).stdout.splitlines()]
    assert [row["familiar"] for row in rows] == [False, True, True, True]
    assert all((row["familiarity"] >= limit) == row["familiar"] for row in rows)

    unable = ("--model", tmp_path / "plain.keras", *names[:1])
    row = json.loads(predict("--json", *unable).stdout)
    assert (row["familiar"], row["familiarity"]) == (None, None)


@pytest.fixture(scope="module")
def varied(elsewhere):
    """Save a model that is more sure of some images than of others; return its arguments."""
    decoded = [try_decode(elsewhere.folder / name, 32, True)[0] for name in elsewhere.expected]
    classifier = make_classifier()
    logits = classifier.predict(np.stack(decoded), verbose=0)
    head = classifier.get_layer("head").layers[-1]
    kernel, bias = head.get_weights()
    head.set_weights([kernel / logits.std(), bias - np.median(logits) / logits.std()])
    path = elsewhere.folder / "models/varied.keras"
    save_model(classifier, path, Description(["cats", "dogs"], crop_to_aspect_ratio=True))
    return "--model", "models/varied.keras"


def test_unsure_answers_are_left_to_a_person(predict, varied):
    rows = list(csv.DictReader(io.StringIO(predict(*varied, "--csv", "images").stdout)))
    sure = {row["image"]: float(row["probability"]) for row in rows}
    least = sum(sorted(sure.values())[2:4]) / 2
    expected = {name for name, probability in sure.items() if probability > least}
    assert 0 < len(expected) < len(sure)
    done = predict(*varied, "--at-least", least, "--csv", "images")
    some = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {row["image"] for row in some if row["class"]} == expected
    assert [row | {"class": ""} for row in some] == [row | {"class": ""} for row in rows]
    count = f"{len(sure) - len(expected)} of {len(sure)} images"
    assert done.stderr.splitlines()[-1].startswith(f"no class: {count}, of which no class has")
    assert done.returncode == 0

    image = next(name for name in sure if name not in expected)
    _, row = predict(*varied, "--at-least", least, image).stdout.splitlines()
    assert row.split()[::2] == ["?", image]  # familiar is empty, as this model can't tell


def test_a_folder_is_searched_by_content_and_what_is_no_image_is_named(
    elsewhere, predict, tmp_path
):
    image = (elsewhere.folder / min(elsewhere.expected)).read_bytes()
    names = ["a.jfif", "b", "c.jpg?w=64", "d.JPEG ", "日本.jpg", "x\u2028y.jpg", " z .jpg"]
    hidden = ["._a.jpg", ".DS_Store", "__MACOSX/._a.jpg", "@eaDir/a.jpg/thumb.jpg"]
    for name in (*names, *hidden):
        (tmp_path / "mac" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mac" / name).write_bytes(image)
    (tmp_path / "mac/notes.txt").write_text("no image")
    (tmp_path / "store").mkdir()
    (tmp_path / "store/e.jpg").write_bytes(image + b"video" * 99)
    (tmp_path / "mac/more").symlink_to(tmp_path / "store")
    done = predict("--csv", tmp_path / "mac")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    expected = sorted(str(tmp_path / "mac" / name) for name in (*names, "more/e.jpg"))
    assert sorted(row["image"] for row in rows) == expected
    assert len({row["probability"] for row in rows}) == 1
    assert done.returncode == 0
    no_image, others = done.stderr.splitlines()
    assert no_image.startswith(f"left out: {tmp_path}/mac/notes.txt: not BMP, GIF")
    assert others.endswith("hidden, or made by a system: .DS_Store, ._a.jpg, @eaDir, __MACOSX")

    listed = "\n".join(expected).encode()
    again = predict("--csv", "-", stdin=listed)
    assert sorted(again.stdout.splitlines()) == sorted(done.stdout.splitlines())
    table = predict("-", stdin=listed.replace(b"\n", b"\r\n")).stdout
    assert r"mac/x\u2028y.jpg" in table and table.count("\n") == len(expected) + 1


def test_the_output_need_not_be_utf_8(elsewhere, tmp_path):
    shutil.copy(elsewhere.folder / min(elsewhere.expected), tmp_path / "猫.jpg")
    done = subprocess.run(
        [sys.executable, "-m", "scripts.predict", tmp_path],
        cwd=elsewhere.folder,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("\\u732b.jpg\n")


def test_without_a_model_a_line_says_where_it_comes_from(predict, tmp_path, monkeypatch):
    monkeypatch.setattr(scripts.predict, "MODEL", tmp_path / "model.keras")
    done = predict("images")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == (
        f"error: there is no {tmp_path}/model.keras; `dvc repro` makes it, "
        f"`dvc pull {tmp_path}/model.keras` fetches it\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("models",), "error: there are no images in models"),
        (("--model", "none.keras", "images"), "error: --model: .*there is no none.keras"),
        (("--at-least", "95", "images"), ".*expected a number from 0 to 1; received '?95'?"),
        (("--at-least", "high", "images"), ".*expected a number from 0 to 1; received '?high'?"),
    ],
)
def test_an_error_is_one_line(predict, arguments, message):
    done = predict(*arguments)
    assert done.returncode == (2 if "--at-least" in arguments else 1)  # argparse's own code
    assert re.search(f"^{message}$", done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr
