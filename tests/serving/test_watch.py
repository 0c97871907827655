"""The page of make watch: without a browser, and once in a real one."""

import json
import os
import time

import pytest
from streamlit.testing.v1 import AppTest

from scripts.project import copy_project
from tests.helpers.browser import NEEDS_BROWSER, PHONE, opened, serving
from tests.helpers.project import PROJECT
from transfer.core.files import HISTORY, HISTORY_HEAD, STATUS
from transfer.training.history import write_history

ROWS = [(epoch, 0.5 + epoch / 10, 0.7, 0.6, 0.65) for epoch in range(1, 4)]
RUNNING = {"stage": "fine_tune", "epoch": 4, "epochs": 12, "images": 640, "of": 2000}
RUNNING |= {"images_per_second": 71.4, "seconds_left": 95.2}


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Return the page of an empty project."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(PROJECT))
    return AppTest.from_file(str(PROJECT / "app/watch.py"), default_timeout=60)


def charts(page):
    """Return the number of epochs in each chart."""
    specs = [json.loads(chart.proto.spec) for chart in page.get("vega_lite_chart")]
    return [len(spec["layer"][1]["data"]["values"]) // 2 for spec in specs]


def test_before_the_first_training_it_says_how_to_start_one(page):
    assert "`dvc repro` or `dvc exp run` starts a training" in page.run().info[0].value
    assert not page.exception and not page.selectbox


def test_it_shows_epoch_speed_time_left_and_curves_of_a_training_that_runs(page):
    write_history(HISTORY_HEAD, ROWS[:2])
    write_history(HISTORY, ROWS)
    STATUS.write_text(json.dumps(RUNNING))
    page.run()
    assert [(m.label, m.value) for m in page.metric] == [
        ("Fine-tuning", "epoch 4 of 12"),
        ("Images per second", "71"),
        ("Time left", "0:01:35"),
    ]
    assert charts(page) == [3, 3] and not page.warning and not page.exception
    write_history(HISTORY, [*ROWS, (4, 0.9, 0.7, 0.6, 0.65)])
    assert charts(page.run()) == [4, 4]
    os.utime(STATUS, (time.time() - 100,) * 2)
    assert "The last sign of life is 100 s old" in page.run().warning[0].value
    STATUS.unlink()
    assert "No training runs here now" in page.run().caption[0].value


def test_an_experiment_that_runs_elsewhere_is_shown_by_its_name(page, tmp_path):
    write_history(HISTORY, ROWS)
    folder = tmp_path / ".dvc/tmp/exps/tmp123"
    write_history(folder / HISTORY, ROWS[:1])
    (folder / STATUS).write_text(json.dumps(RUNNING | {"stage": "train_head", "images": 0}))
    described = tmp_path / ".dvc/tmp/exps/run/abc/abc.run"
    described.parent.mkdir(parents=True)
    described.write_text(json.dumps({"root_dir": str(folder), "wdir": ".", "name": "proud-frit"}))
    (described.parent / "half.run").write_text('{"root')
    page.run()
    assert page.selectbox[0].options == ["workspace", "proud-frit"]
    assert page.selectbox[0].value == "proud-frit"  # it has the newest status
    assert page.metric[0].label == "Head" and charts(page) == [1, 1]
    page.selectbox[0].select("workspace").run()
    assert charts(page) == [3, 3] and not page.metric


class TestInABrowser:
    pytestmark = NEEDS_BROWSER

    def test_the_curves_grow_without_a_click(self, tmp_path, browser, requested):
        folder = tmp_path / "project"
        copy_project(folder, "app", ".streamlit")
        write_history(folder / HISTORY, ROWS)
        (folder / STATUS).write_text(json.dumps(RUNNING))
        with (
            serving(folder, "app/watch.py") as (address, _),
            opened(address, browser, requested, viewport=PHONE) as page,
        ):
            page.get_by_text("epoch 4 of 12").wait_for()
            page.locator(".vega-embed :is(canvas, svg.marks)").first.wait_for()
            (folder / STATUS).write_text(json.dumps(RUNNING | {"epoch": 5}))
            page.get_by_text("epoch 5 of 12").wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert all(url.startswith((address, address.replace("http", "ws"))) for url in requested)
