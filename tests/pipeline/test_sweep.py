"""How sweeps list, rank and tabulate their points; test_experiments.py runs them in DVC's queue."""

import json
import subprocess

import pytest

from scripts import experiments, sweep
from scripts.sweep_table import find_swept, make_row, sort_values, to_text
from scripts.table import merit
from transfer.core.errors import UserError


def make_point(name, accuracy, loss, **params):
    return {
        "name": name,
        "params": {"seed": 0} | params,
        "metrics": {
            "metrics/fine_tune.json": {
                "val_accuracy": accuracy,
                "val_loss": loss,
                "trainable_parameters": 1_281,
            },
            "metrics/evaluate.json": {"accuracy": 0.9, "accuracy_low": 0.8, "accuracy_high": 1.0},
        },
        "seconds": "cached",
    }


def test_points_are_ranked_by_validation_accuracy_then_loss():
    points = [make_point("a", 0.9, 0.2), make_point("b", 0.95, 0.3), make_point("c", 0.9, 0.1)]
    ranked = sorted(points, key=lambda point: merit([point]))
    assert [point["name"] for point in ranked] == ["b", "c", "a"]


def test_table_has_the_parameters_that_differ():
    points = [
        make_point(f"grid-{number}", 0.9, 0.1, dropout=dropout, fine_tune_at=layer)
        for number, (dropout, layer) in enumerate([(0.1, 60), (0.2, 60), (0.3, "block_1")])
    ]
    swept = find_swept(points)
    assert swept == ["dropout", "fine_tune_at"]
    header, (first, *_) = to_text([make_row(point, swept) for point in points])
    assert header == [
        *("experiment", "dropout", "fine_tune_at", "validation accuracy", "validation loss"),
        *("test accuracy", "trainable parameters", "seconds"),
    ]
    scores = ["0.9000", "0.1000", "0.900 (0.800 to 1.000)", "1,281", "cached"]
    assert first == ["grid-0", "0.1", "60", *scores]


def test_numbers_are_sorted_before_names():
    assert sort_values(["block_1", 100, 60]) == [60, 100, "block_1"]
    assert sort_values([(1, "b"), (1, 2), (0, "c")]) == [(0, "c"), (1, 2), (1, "b")]


def test_a_listing_that_hangs_is_started_again(monkeypatch):
    names = ["grid", "grid-2", "grid-x", "other-1", None]
    listing = json.dumps([{"experiments": None}, {"experiments": [{"name": n} for n in names]}])
    timeouts = []

    def run(command, timeout, **options):
        timeouts.append(timeout)
        if len(timeouts) < 3:
            raise subprocess.TimeoutExpired(command, timeout)
        return subprocess.CompletedProcess(command, 0, listing)

    monkeypatch.setattr(subprocess, "run", run)
    assert [e["name"] for e in sweep.list_experiments("grid")] == ["grid", "grid-2"]
    assert timeouts == [60, 120, 240]


@pytest.mark.parametrize("failures", [2, 3])
def test_a_listing_that_fails_is_started_again_but_not_for_ever(monkeypatch, capsys, failures):
    codes = [1] * failures + [0]

    def run(command, **options):
        return subprocess.CompletedProcess(command, codes.pop(0), '[{"experiments": null}]')

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(experiments, "POLL_SECONDS", 0)
    if failures < 3:
        assert sweep.list_experiments("grid") == []
    else:
        with pytest.raises(UserError, match="`dvc exp show --json` failed"):
            sweep.list_experiments("grid")
    assert capsys.readouterr().err == "an experiment may just have ended; listing again\n" * 2


@pytest.mark.parametrize("jobs", ["0", "-1"])
def test_a_sweep_that_would_wait_for_ever_is_refused(capsys, jobs):
    with pytest.raises(SystemExit):
        sweep.parse(["--jobs", jobs, "dropout=0.1,0.2"])
    assert capsys.readouterr().err.endswith("error: --jobs must be above 0\n")
