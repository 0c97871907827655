"""How searches propose, stop, rank and report; and one that runs."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from PIL import Image

from scripts.project import set_params
from scripts.search import Hopeless, open_study, propose, reporter, value_of
from scripts.search_report import ended, write_report
from scripts.search_space import parse_space
from scripts.search_trial import FINE_TUNE, score_quarters
from tests.helpers.project import PROJECT
from tests.helpers.repository import Repository
from transfer.core.errors import UserError


@pytest.mark.parametrize(
    ("done", "epochs", "quarters"),
    [
        (0, 8, {}),
        (1, 8, {}),
        (5, 8, {1: 0.2, 2: 0.4}),
        (15, 15, {1: 0.4, 2: 0.8, 3: 1.2, 4: 1.5}),
        (3, 3, {1: 0.1, 2: 0.2, 4: 0.3}),
    ],
)
def test_runs_of_any_number_of_epochs_are_compared_by_quarters(done, epochs, quarters):
    history = [{"val_accuracy": str(epoch / 10)} for epoch in range(1, done + 1)]
    assert score_quarters(history, epochs) == quarters


SPACE = parse_space(["dropout=interval(0,0.9)", "mixup=0.0,0.2"])


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Return the study of a search, in memory: a database takes a second."""
    monkeypatch.chdir(tmp_path)
    return optuna.create_study(study_name="try", direction="maximize", pruner=Hopeless())


@pytest.fixture
def stored_study(tmp_path, monkeypatch):
    """Return the study of a search that has just begun, in a repository with params.yaml only."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    Repository(tmp_path).commit()
    return open_study("try", ["dropout=interval(0,0.9)", "mixup=0.0,0.2"])


def add(study, accuracy, loss=0.1, state=TrialState.COMPLETE, scores=None, **params):
    """Add a trial as a search does that has run it."""
    name = f"try-{len(study.trials)}"
    metrics = {
        FINE_TUNE: {"val_accuracy": accuracy, "val_loss": loss},
        "metrics/evaluate.json": {"accuracy": 0.9, "accuracy_low": 0.8, "accuracy_high": 1.0},
    }
    facts = {"name": name, "seconds": 60}
    if state == TrialState.COMPLETE:
        facts["metrics"] = metrics
    study.add_trial(
        create_trial(
            state=state,
            value=accuracy and value_of(metrics),
            params=params,
            distributions={key: SPACE[key] for key in params},
            intermediate_values=scores or {},
            user_attrs=facts,
        )
    )


def test_equal_searches_propose_equal_trials_also_after_an_interruption(study, stored_study):
    for each in (study, stored_study):
        add(each, 0.9, dropout=0.2, mixup=0.0)
    first = propose(study, SPACE)
    assert propose(stored_study, SPACE).params == first.params
    again = open_study("try", [])  # as if the search had been killed here
    resumed = propose(again, SPACE)
    assert resumed.params == first.params and [t.number for t in ended(again)] == [0]

    for each, trial in ((study, first), (again, resumed)):
        each.tell(trial, state=TrialState.FAIL)  # as if it had never been asked
        add(each, 0.8, **first.params)
    second = propose(study, SPACE).params
    assert propose(again, SPACE).params == second != first.params


def test_a_search_goes_on_only_with_what_it_began_with(stored_study, tmp_path):
    assert open_study("try", ["dropout=0.1,0.2"]).user_attrs["space"] == ["dropout=0.1,0.2"]
    add(stored_study, 0.9)
    with pytest.raises(UserError, match=r"^try: this search began with another space, "):
        open_study("try", ["dropout=0.1,0.3"])
    set_params(tmp_path, seed=1)
    with pytest.raises(UserError, match=r"another params.yaml, .*give another --name$"):
        open_study("try", [])
    Repository(tmp_path).commit("another")
    with pytest.raises(UserError, match="another commit, "):
        open_study("try", [])


def test_a_trial_with_twice_the_mistakes_is_stopped_but_not_early_nor_at_its_end(study):
    assert not reporter(study.ask())({2: 0.1})  # with nothing to compare it with
    for accuracy in (0.7, 0.8, 0.9):
        add(study, accuracy, scores={1: accuracy, 2: accuracy, 3: accuracy, 4: accuracy})
    worse, better, late = (reporter(study.ask()) for _ in range(3))
    assert not worse({1: 0.1}) and worse({1: 0.1, 2: 0.59})
    assert not better({1: 0.1, 2: 0.61}) and not better({1: 0.1, 2: 0.61, 3: 0.1})
    assert not late({4: 0.1})


def test_the_report_ranks_by_validation_accuracy_then_loss_and_names_what_counts(study):
    add(study, 0.9, 0.2, dropout=0.2, mixup=0.0)
    add(study, 0.95, 0.3, dropout=0.123456, mixup=0.2)
    add(study, 0.95, 0.1, dropout=0.3, mixup=0.2)
    add(study, 0.97, state=TrialState.PRUNED, scores={1: 0.9, 2: 0.97}, dropout=0.4, mixup=0.0)
    add(study, None, state=TrialState.FAIL, dropout=0.5, mixup=0.0)
    text = write_report(study, SPACE, Path("report"))
    first, _, header, _, *rows = text.splitlines()
    assert first == "5 trials in 5.0 minutes; try-0 is params.yaml as it is."
    assert header == (
        "| experiment | dropout | mixup | result | validation accuracy | validation loss | "
        "test accuracy | seconds |"
    )
    assert rows[:5] == [
        "| try-2 | 0.3 | 0.2 | finished | 0.9500 | 0.1000 | 0.900 (0.800 to 1.000) | 60 |",
        "| try-1 | 0.123 | 0.2 | finished | 0.9500 | 0.3000 | 0.900 (0.800 to 1.000) | 60 |",
        "| try-0 | 0.2 | 0.0 | finished | 0.9000 | 0.2000 | 0.900 (0.800 to 1.000) | 60 |",
        "| try-3 | 0.4 | 0.0 | stopped at 50% | 0.9700 |  |  | 60 |",
        "| try-4 | 0.5 | 0.0 | failed |  |  |  | 60 |",
    ]
    assert "chose try-2, so its validation accuracy flatters" in text
    assert "importance" not in text  # of three finished trials, it would be chance
    table = Path("report/table.csv").read_text().splitlines()
    assert table[1] == "try-2,0.3,0.2,finished,0.95,0.1,0.9,0.8,1.0,60"
    assert (Path("report/report.md").read_text()).startswith(f"# try\n\n{text}")


def test_the_report_says_which_parameters_matter(study):
    for number in range(10):
        dropout = number / 12
        add(study, 0.9 - dropout / 10, dropout=dropout, mixup=0.2 * (number % 2))
    lines = write_report(study, SPACE, Path("report")).splitlines()
    header = lines.index("| parameter | importance |")
    (first, part), (second, rest) = (line.strip("| ").split(" | ") for line in lines[header + 2 :])
    assert (first, second) == ("dropout", "mixup") and float(part) > 0.9 > 0.1 > float(rest)
    with Image.open("report/search.png") as image:
        assert image.width > image.height


def test_without_differences_nothing_matters(study):
    for _ in range(10):
        add(study, 0.9, dropout=0.5, mixup=0.0)
    assert "importance" not in write_report(study, SPACE, Path("report"))


def search(*arguments):
    """Return the command of a search."""
    return [sys.executable, "-m", "scripts.search", "--name", "try", *arguments]


@pytest.mark.slow
def test_a_search_is_interrupted_goes_on_and_stops_a_hopeless_trial(repository, monkeypatch):
    monkeypatch.chdir(repository.folder)
    space = ["fine_tune_learning_rate=interval(0.00001,0.0001)", "fine_tune_epochs=12,13"]
    first = subprocess.Popen(search("--trials", "2", *space))
    log = Path("searches/try/try-1.log")
    while not (log.exists() and "fine_tune: from layer" in log.read_text()):
        assert first.poll() is None
        time.sleep(0.2)
    first.send_signal(signal.SIGINT)
    assert first.wait(60) == 1  # and it says how to go on
    assert names_of_experiments(repository) == {"try-0"}

    out = repository.run(*search("--trials", "2")).stdout
    assert "2 trials in " in out and re.search(r"^\| try-[02] .* finished ", out, re.MULTILINE)
    study = open_study("try", [])
    default, interrupted, resumed = study.trials
    assert default.params == {"fine_tune_learning_rate": 0.00001}  # its epochs are not in the space
    assert interrupted.params == resumed.params
    assert set(resumed.intermediate_values) == {1, 2, 3, 4}
    assert names_of_experiments(repository) == {"try-0", "try-2"}

    for _ in range(2):
        add(study, 1.0, scores={2: 1.0, 3: 1.0})
    in_background = ["sh", "-c", 'trap "" INT; "$@"', "sh"]  # as a script does by &
    out = repository.run(*in_background, *search("--trials", "5")).stdout
    assert re.search(r"^\| try-5 .* stopped at (50|75)% ", out, re.MULTILINE)
    assert names_of_experiments(repository) == {"try-0", "try-2"}
    assert os.listdir(".dvc/tmp/exps/standalone") == ["run"]
    assert repository.run("git", "status", "--short").stdout == ""
    repository.dvc("exp", "run", "--temp", "--name", "after")
    assert names_of_experiments(repository) == {"after", "try-0", "try-2"}


def names_of_experiments(repository):
    _, head = json.loads(repository.dvc("exp", "show", "--json"))
    return {e["name"] for e in head["experiments"] or []}
