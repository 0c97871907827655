"""The pipeline runs without what only Linux has."""

import json
import os
import shlex
import subprocess
import sys

import pytest

from scripts.project import copy_project
from tests.helpers.project import PROJECT
from tests.helpers.repository import SMALL
from transfer.download.sample import draw_sample

STAGES = ("download", "split", "train_head", "fine_tune", "evaluate", "plot")


@pytest.mark.slow
def test_all_stages_and_a_prediction_run_as_on_macos(tmp_path):
    draw_sample(tmp_path / "images", 6)
    params = SMALL | {"data_url": str(tmp_path / "images"), "fine_tune_at": 150}
    params["familiarity"] = False  # uses nothing that only Linux has
    copy_project(tmp_path / "project", "scripts", **params)
    images = sorted(map(str, (tmp_path / "images").rglob("*.jpg")))
    predict = shlex.join(["scripts.predict", "--json", *images])
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": ""}
    environment["TRANSFER_FROZEN_RUNTIME"] = "onnxruntime"  # the default
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.macos", *(f"stages.{s}" for s in STAGES), predict],
        cwd=tmp_path / "project",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    stages = dict.fromkeys(line.split(":")[0] for line in lines if line.startswith(STAGES))
    assert list(stages) == list(STAGES)
    predictions = [json.loads(line) for line in lines if line.startswith("{")]
    assert [prediction["image"] for prediction in predictions] == images
    assert (tmp_path / "project/plots/report.html").is_file()
