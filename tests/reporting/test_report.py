import contextlib
import copy
import json
import re
import shutil
from collections import Counter

import numpy as np
import pytest

from stages import plot
from tests.helpers.browser import CHROMIUM, FLAGS
from transfer.core.files import (
    MODEL,
    MODEL_CARD,
    PLOTS,
    PROBABILITIES,
    SPLIT,
    read_csv,
    sha256,
    write_csv,
)
from transfer.core.params_file import load_params
from transfer.data.dataset import load_split
from transfer.models.compiled import load_compiled
from transfer.reporting import report
from transfer.training.suspects import COLUMNS

HOSTILE = "<script>alert(1)</script>|*x*"
REPORT = PLOTS / "report.html"


@pytest.fixture(scope="module")
def folder(repository):
    return repository.folder


@pytest.fixture
def facts(folder, monkeypatch):
    monkeypatch.chdir(folder)
    test, (_, model) = load_split(SPLIT, "test"), np.load(PROBABILITIES)
    images = {
        "samples": report.sample_images(test, np.arange(3)),
        "explained": report.explain_predictions(load_compiled(MODEL), test, model, np.arange(3)),
    }
    answered = {0.9: (0.75, 0.5, 3), 0.99: (0.0, np.nan, 0)}
    return report.collect_facts(load_params().model_dump()) | images | {"answered": answered}


def render(facts, folder):
    """Write report and card as the stage does; return their text."""
    for figure in PLOTS.glob("*.png"):
        shutil.copy(figure, folder)
    report.write_report(folder / "report.html", facts)
    report.write_card(folder / "card.md", facts)
    return (folder / "report.html").read_text(), (folder / "card.md").read_text()


def test_report_and_card_say_what_the_metrics_are(folder):
    html, card = ((folder / path).read_text() for path in (REPORT, MODEL_CARD))
    metrics = json.loads((folder / "metrics/evaluate.json").read_text())
    loss = {row["score"]: row for row in read_csv(folder / "metrics/scores.csv")}["loss"]
    image_count = len(read_csv(folder / SPLIT / "manifest.csv"))
    cpu = json.loads((folder / "metrics/fine_tune.json").read_text())["cpu"]
    for text in (html, card):
        for name in ("accuracy", "accuracy_low", "accuracy_high", "head_accuracy"):
            assert f"{100 * metrics[name]:.1f}\u00a0%" in text, name
        for value in (loss["head"], loss["fine-tuned"]):
            assert f"{float(value):.4f}" in text
        assert sha256(folder / MODEL) in text
        assert f"{image_count} images" in text
        assert cpu in text and "last digits" in text
        for name in load_params(folder / "params.yaml").model_dump():
            assert name in text
    assert "broken.jpg" in html  # which was rejected
    assert "readme.txt" not in html  # which is no image


def test_stage_writes_the_same_bytes_in_another_process(folder, monkeypatch):
    before = [sha256(folder / path) for path in (REPORT, MODEL_CARD)]
    monkeypatch.chdir(folder)
    plot.main()
    assert [sha256(folder / path) for path in (REPORT, MODEL_CARD)] == before


def test_names_are_text(facts, tmp_path):
    hostile = copy.deepcopy(facts)
    for row in (*hostile["classes"], *hostile["explained"]):
        row |= {key: HOSTILE for key in ("class", "path", "label", "prediction") if key in row}
    html, card = render(hostile, tmp_path)
    assert "<script" not in html and "&lt;script&gt;alert(1)" in html
    assert HOSTILE not in card and r"\<script\>alert(1)\</script\>\|\*x\*" in card


def test_without_mistakes_it_shows_the_least_confident_predictions(facts, tmp_path):
    html, _ = render(facts | {"mistakes": 0, "confused": []}, tmp_path)
    assert "Worst mistakes" not in html
    assert "the least confident predictions" in html


def suspect(index, **values):
    row = read_csv(SPLIT / "manifest.csv")[index]
    of_row = {name: row[name] for name in ("path", "sha256", "split", "label")}
    of_label = {"kind": "label", "suggested": "dogs", "probability": "0.0312", "score": "0.9688"}
    return of_row | of_label | {"other": ""} | values


def test_the_report_counts_and_lists_the_suspects(facts, tmp_path):
    found = [suspect(3), suspect(0, kind="outlier", suggested="", probability="0.5", path=HOSTILE)]
    counts = Counter((row["kind"], row["split"]) for row in found)
    html, _ = render(facts | {"suspects": found, "suspect_counts": counts}, tmp_path)
    assert "Images worth a second look: 2" in html
    assert found[0]["path"] in html and ">0.031<" in html and "<script" not in html
    row = html.partition("<th>suspicious labels</th>")[2].partition("</tr>")[0]
    numbers = [int(found[0]["split"] == name) for name in ("train", "val", "test")]
    assert re.findall(">([0-9]+)<", row) == [*map(str, numbers), "1"]
    html, _ = render(facts | {"suspects": [], "suspect_counts": Counter()}, tmp_path)
    assert "No label is suspicious" in html
    facts["params"]["suspects"] = False
    html, _ = render(facts | {"suspects": []}, tmp_path)
    assert "Not looked for" in html


def test_report_and_card_say_what_the_limit_of_familiarity_costs(facts, tmp_path):
    facts["phases"]["fine-tuned"] |= {"familiar_from": 0.7123, "val_unfamiliar": 0.0213}
    facts["compared"]["unfamiliar"] = 0.0345
    for text in render(facts, tmp_path):
        assert "0.7123" in text and "2.1\u00a0%" in text and "3.5\u00a0%" in text
    assert 'id="familiarity"' in (tmp_path / "report.html").read_text()
    del facts["compared"]["unfamiliar"]
    html, card = render(facts, tmp_path)
    assert 'id="familiarity"' not in html and "0.7123" not in card


def test_named_groups_are_counted(facts, tmp_path):
    rows = read_csv(SPLIT / "manifest.csv")
    for row, group in zip(rows, ("Rex", "Rex", "Minka"), strict=False):
        row["group"] = group
    write_csv(tmp_path / SPLIT / "manifest.csv", [*rows[0]], [row.values() for row in rows])
    with contextlib.chdir(tmp_path):
        *_, groups, _ = report.read_manifest()
    assert groups == 2
    html, card = render(facts | {"groups": groups}, tmp_path)
    assert "2 groups are named; none is in two splits" in html
    assert "Groups: 2 are named; none is in two splits" in card


def test_the_first_suspects_are_found_among_the_images(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    found = [suspect(7), suspect(2)]
    write_csv(tmp_path / "s.csv", COLUMNS, [[row[name] for name in COLUMNS] for row in found])
    monkeypatch.setattr(report, "SUSPECTS", tmp_path / "s.csv")
    assert report.first_suspects(24) == [found[0] | {"row": 7}, found[1] | {"row": 2}]
    assert report.first_suspects(1) == [found[0] | {"row": 7}]


def test_card_names_the_augmentation(facts, tmp_path):
    facts["params"] |= {"flip": "none", "rotation": 0.1, "random_resized_crop": 0.25, "mixup": 0.2}
    _, card = render(facts, tmp_path)
    assert (
        "Augmentation: flip none, rotation up to 0.1 of a full turn, random resized crop of up to "
        "0.25 of the side, mixup with alpha 0.2.\n" in card
    )


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium; apt-get install chromium")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_needs_the_report_only(folder, tmp_path, width):
    sync_api = pytest.importorskip("playwright.sync_api")
    alone = shutil.copy(folder / REPORT, tmp_path)
    requests, messages = [], []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.goto(f"file://{alone}")
        images = page.locator("img").all()
        assert len(images) > 8
        for image in images:
            assert image.evaluate("i => i.decode().then(() => i.naturalWidth)") > 0
        assert page.evaluate("document.documentElement.scrollWidth") == width
        browser.close()
    assert {url.split(":")[0] for url in requests} <= {"file", "data"} and messages == []


def test_report_and_card_tell_what_calibration_changed(facts, tmp_path):
    for text in render(facts, tmp_path):
        assert "alibrated" not in text
    facts["phases"]["fine-tuned"]["temperature"] = 1.25
    facts["compared"] |= {"uncalibrated_loss": 0.4321, "uncalibrated_calibration_error": 0.0777}
    html, card = render(facts, tmp_path)
    error = facts["compared"]["calibration_error"]
    assert f"calibration error from 0.0777 to {error:.4f} and the loss from 0.4321" in html
    assert "divided by 1.25" in html
    assert "without calibration, by 7.8\u00a0%" in card
    assert "(temperature 1.25)" in card


def test_report_tells_how_many_images_are_left_to_a_person(facts, tmp_path):
    html, _ = render(facts, tmp_path)
    rows = re.findall(r"<tr><th class=\"n\">(0\.9+)</th>(.*?)</tr>", html)
    cells = {threshold: re.findall(r">([^<]*)</td>", row) for threshold, row in rows}
    assert cells == {
        "0.9": ["75.0\u00a0%", "25.0\u00a0%", "50.0\u00a0%", "3"],
        "0.99": ["0.0\u00a0%", "100.0\u00a0%", "", "0"],
    }
