"""How experiments are tabulated; test_experiments.py makes real ones and tabulates them."""

import csv
from pathlib import Path

import pytest

from scripts import table
from scripts.table import (
    gather,
    make_row,
    merit,
    print_aligned,
    print_rows,
    sort_out,
    to_cells,
    to_markdown,
    to_text,
)

BASE = {"dropout": 0.2, "fine_tune_at": "auto", "fine_tune_learning_rate": "auto", "seed": 0}


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no dvc.lock says that the workspace is outdated


def printed(name, accuracy=0.9, code="1", metrics=True, rev=None, **params):
    """Return a revision as `dvc exp show --json` prints it, with fewer parameters and files."""
    fine_tune = {"val_accuracy": accuracy, "val_loss": 0.3, "cpu": "x86_64", "threads": 2}
    evaluate = {
        "accuracy": accuracy - 0.01,
        "accuracy_low": 0.8,
        "accuracy_high": 0.95,
        "balanced_accuracy": accuracy - 0.02,
        "loss": 0.25,
    }
    seed = params.get("seed", 0)
    data = {
        "rev": rev or f"{name:_<40}",
        "timestamp": "2026-11-26T11:45:00",
        "params": {"params.yaml": {"data": BASE | params}},
        "metrics": {
            "metrics/fine_tune.json": {"data": fine_tune},
            "metrics/evaluate.json": {"data": evaluate} if metrics else {"error": {}},
        },
        "deps": {
            "transfer/training": {"hash": f"{code}.dir", "size": 1, "nfiles": 9},
            "corrections.csv": {"hash": "610c", "size": 10, "nfiles": None},
            "data/split": {"hash": f"{seed}.dir", "size": 1, "nfiles": 4},
        },
        "outs": {"data/split": {"hash": f"{seed}.dir", "size": 1, "nfiles": 4}},
        "meta": {},
    }
    return {"rev": data["rev"], "name": name, "data": data, "error": None, "experiments": None}


def experiment(name, state=None, log=None, **values):
    local = {"root": None, "log": log, "pid": 1, "returncode": 0, "task_id": "1"}
    executor = {"state": state or "success", "name": "dvc-task", "local": local if log else None}
    ran = executor if state or log else None
    return {"revs": [printed(name, **values)], "executor": ran, "name": name}


def listing(*experiments, workspace=None, **commit):
    """Return the workspace, which is like the commit unless it is given, and the commit."""
    workspace = workspace or printed(None, rev="workspace", **commit)
    return [workspace, printed("main", **commit) | {"experiments": list(experiments) or None}]


def rows_of(revisions):
    return [make_row(points) for points in sorted(gather(sort_out(revisions)[0]), key=merit)]


def test_the_best_by_validation_is_first_and_only_what_changed_is_told():
    better = experiment("better", accuracy=0.92, fine_tune_at=98, fine_tune_learning_rate=1e-5)
    worse = experiment("worse", accuracy=0.88, dropout=0.5)
    rows = rows_of(listing(worse, better))
    assert [(row["experiment"], row["changed"]) for row in rows] == [
        ("better", "fine_tune_at=98 fine_tune_learning_rate=1e-05"),
        ("main", ""),
        ("worse", "dropout=0.5"),
    ]
    assert to_text(rows[0]) == {
        "experiment": "better",
        "changed": "fine_tune_at=98 fine_tune_learning_rate=1e-05",
        "validation accuracy": "0.9200",
        "test accuracy": "0.910 (0.800–0.950)",
        "balanced accuracy": "0.900",
        "test loss": "0.250",
        "seconds": "",
    }


def test_seeds_of_a_setting_are_one_row_and_equal_results_count_once():
    again = experiment("again")
    seeds = [experiment(f"s{n}", accuracy=0.9 + n / 100, seed=n) for n in (2, 1)]
    other = experiment("other", seed=1, dropout=0.5)
    (row, single) = rows_of(listing(again, *seeds, other))
    assert (row["experiment"], row["changed"], row["seeds"]) == ("main again s1 s2", "", 3)
    assert (row["validation accuracy"], row["validation accuracy ±"]) == (0.91, 0.01)
    assert (row["low"], row["high"]) == (None, None)
    assert to_text(row)["test accuracy"] == "0.900\n± 0.010"
    assert to_text(row)["changed"] == "(3 seeds)"
    assert (single["experiment"], single["changed"]) == ("other", "dropout=0.5 seed=1")


def test_images_outside_of_the_project_make_no_second_row_of_the_workspace(tmp_path):
    workspace, commit = listing(experiment("other", dropout=0.5))
    images = tmp_path.parent / "images"
    for revision, path in ((workspace, "../images"), (commit, str(images)[1:])):
        revision["data"]["deps"][path] = {"hash": "4a45.dir", "size": 1, "nfiles": 800}
    assert {row["experiment"] for row in rows_of([workspace, commit])} == {"main", "other"}
    workspace["data"]["deps"]["../images"]["hash"] = "5b56.dir"
    assert "workspace" in {row["experiment"] for row in rows_of([workspace, commit])}


def test_other_code_is_told_and_its_seeds_are_not_gathered_with_ours():
    rows = rows_of(listing(experiment("new", seed=1, code="2")))
    assert [(row["experiment"], row["changed"]) for row in rows] == [
        ("main", ""),
        ("new", "seed=1 other code"),
    ]


def test_an_older_experiment_without_a_score_has_an_empty_cell():
    old = experiment("old", dropout=0.5)
    del old["revs"][0]["data"]["metrics"]["metrics/evaluate.json"]["data"]["balanced_accuracy"]
    row = rows_of(listing(old))[1]
    assert (row["experiment"], row["balanced accuracy"]) == ("old", None)
    assert to_text(row)["balanced accuracy"] == ""


def test_the_workspace_has_a_row_if_it_is_neither_the_commit_nor_an_experiment():
    mine = printed(None, rev="workspace", dropout=0.3)
    assert [row["experiment"] for row in rows_of(listing(workspace=mine))] == ["main", "workspace"]
    same = experiment("same", dropout=0.3)
    assert [row["experiment"] for row in rows_of(listing(same, workspace=mine))] == ["main", "same"]


def test_experiments_without_scores_are_named():
    unreadable = experiment("broken")
    unreadable["revs"][0] |= {"data": None, "error": {"msg": "no dvc.yaml", "type": "X"}}
    points, others = sort_out(
        listing(
            experiment("q-1", "queued", metrics=False),
            experiment("q-2", "queued", metrics=False),
            experiment("r", "running"),
            experiment("f", "failed", fine_tune_at=9999),
            experiment("half", metrics=False),
            unreadable,
        )
    )
    assert [point["name"] for point in points] == ["main"]
    assert others == {
        "queued": ["q-1", "q-2"],
        "running": ["r"],
        "failed": ["f"],
        "without scores": ["half", "broken"],
    }
    assert others.keys() <= table.ADVICE.keys()


def test_seconds_are_those_of_the_queues_log(tmp_path):
    log = tmp_path / "queue.out"
    log.write_text("train_head: 1 of 2, 3 s\nfine_tune: epoch 2, accuracy 0.9, 40 s\nplot: 9 s\n")
    timed = experiment("timed", log=str(log), dropout=0.5)
    gone = experiment("gone", log=str(tmp_path / "removed"), dropout=0.6)
    seconds = {row["experiment"]: row["seconds"] for row in rows_of(listing(timed, gone))}
    assert seconds == {"main": None, "timed": 43, "gone": None}


def test_markdown_has_one_line_a_row_whatever_is_in_it():
    text = to_markdown(["a", "b"], [["1\n± 2", "x|y"]])
    assert text == "| a | b |\n| --- | --- |\n| 1 ± 2 | x\\|y |\n"


def test_it_fits_into_100_columns(capsys):
    Path("queue.out").write_text("fine_tune: epoch 2, accuracy 0.9, 1200 s\n")
    setting = {"log": "queue.out", "fine_tune_at": 98, "fine_tune_learning_rate": 0.0003}
    seeds = [experiment(f"sweep-1126-114729-{n}", seed=n, **setting) for n in (1, 2, 3)]
    print_rows(rows_of(listing(*seeds)), None)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert [line.split()[0] for line in lines if "sweep" in line] == [e["name"] for e in seeds]


def test_no_value_is_broken_where_a_change_is_longer_than_its_column(capsys):
    Path("queue.out").write_text("fine_tune: epoch 2, accuracy 0.9, 1200 s\n")
    setting = {"log": "queue.out", "fine_tune_at": 116, "fine_tune_learning_rate": 0.000651}
    print_rows(rows_of(listing(experiment("search-3", **setting))), None)
    words = capsys.readouterr().out.split()
    assert {"fine_tune_at=116", "fine_tune_learning_rate=", "0.000651"} < {*words}


def test_names_are_shown_as_they_are(capsys):
    path = f"test/cats/{'size=72' * 9}.jpg"
    print_aligned(("image", "label"), iter([[path, "cats"]]))
    assert path in capsys.readouterr().out


def test_csv_has_numbers_with_all_digits(capsys):
    seeds = [experiment(f"s{n}", accuracy=0.9 + n / 300, seed=n, dropout=0.5) for n in (1, 2)]
    print_rows(rows_of(listing(*seeds)), "csv")
    best, main = csv.DictReader(capsys.readouterr().out.splitlines())
    assert (best["experiment"], best["changed"], best["seeds"]) == ("s1 s2", "dropout=0.5", "2")
    assert (best["validation accuracy"], best["validation accuracy ±"]) == ("0.905", "0.00236")
    assert (main["low"], main["high"], main["test loss ±"]) == ("0.8", "0.95", "")


def test_columns_in_which_no_row_has_anything_are_left_out():
    header, _ = to_cells(rows_of(listing()))
    scores = ["validation accuracy", "test accuracy", "balanced accuracy", "test loss"]
    assert header == ["experiment", *scores]


def test_names_and_values_print_no_escape_sequences():
    row = rows_of(listing(experiment("a\x9b31m", dropout="\x1b[31mred")))[1]
    assert (row["experiment"], row["changed"]) == ("a\\x9b31m", "dropout=\\x1b[31mred")
