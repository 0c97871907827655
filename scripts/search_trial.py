"""One trial of a search: an experiment of DVC whose learning curve is followed while it runs."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from scripts.experiments import FINE_TUNE, read_at, to_point
from scripts.sweep import list_experiments
from transfer.core.errors import UserError, printable
from transfer.core.files import HISTORY, HISTORY_HEAD, read_csv
from transfer.core.runs import running_experiments

POLL_SECONDS = 1
EPOCHS = re.compile(r"^fine_tune: from layer .*; (\d+) epochs,", re.MULTILINE)
# Runs are compared at the same part of their epochs, not after as many of them: where the schedule
# is a cosine, the learning rate, and the loss of accuracy that it causes, depend on that part.
QUARTERS = 4
Scores = dict[int, float]  # validation accuracy by quarters of fine-tuning that are done


def run_experiment(
    name: str, values: Mapping[str, object], log: Path, is_hopeless: Callable[[Scores], bool]
) -> str:
    """Run the pipeline in a temporary copy, as an experiment of DVC.

    Args:
        name: Of the experiment.
        values: Of the parameters that it sets.
        log: The file for what DVC and the stages print.
        is_hopeless: Is asked every second; if it says so, the run is stopped.

    Returns:
        success, stopped or failed.
    """
    settings = [f"{key}={json.dumps(v, ensure_ascii=False)}" for key, v in values.items()]
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", name]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        run = subprocess.Popen(
            [*command, *(word for setting in settings for word in ("-S", setting))],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},  # or the log would lag behind
            start_new_session=True,
        )
    try:
        while run.poll() is None:
            if is_hopeless(live_scores(name, log)):
                return "stopped"
            with suppress(subprocess.TimeoutExpired):
                run.wait(POLL_SECONDS)
    finally:
        if run.poll() is None:
            # As Ctrl-C does, to DVC and its stage: DVC removes the temporary copy.
            os.killpg(run.pid, signal.SIGINT)
            run.wait()
    return "failed" if run.returncode else "success"


def live_scores(name: str, log: Path) -> Scores:
    """Return the scores of a run so far.

    Before the stage fine_tune says that it begins, the history is that of an earlier run.

    Args:
        name: Of the experiment.
        log: What it has printed.
    """
    begun = EPOCHS.search(log.read_text("utf-8", "replace"))
    if not begun:
        return {}
    folder = running_experiments().get(name)
    if folder is None:
        return {}
    with suppress(OSError):  # it has just ended
        head, history = read_csv(folder / HISTORY_HEAD), read_csv(folder / HISTORY)
        return score_quarters(history[len(head) :], int(begun[1]))
    return {}


def score_quarters(history: list[dict], epochs: int) -> Scores:
    """Return the validation accuracy at the end of each quarter of fine-tuning.

    Args:
        history: A row for each epoch that is done.
        epochs: How many it shall have.
    """
    scores = {}
    for done, row in enumerate(history, start=1):
        scores.setdefault(QUARTERS * done // epochs, float(row["val_accuracy"]))
    scores.pop(0, None)
    return scores


def first_error(log: Path) -> str:
    """Return the first error in what a run has printed: later ones follow from it."""
    error = re.search(
        "^error: (.*)", log.read_text("utf-8", "replace"), re.MULTILINE | re.IGNORECASE
    )
    return printable(error[1]) if error else "without an error"


def read_result(search: str, name: str) -> tuple[dict, Scores]:
    """Return what an experiment gave.

    Args:
        search: Its name, with which that of the experiment begins.
        name: Of the experiment.

    Returns:
        Its name, params and metrics (by file); and its scores.

    Raises:
        UserError: DVC does not know it.
    """
    for experiment in list_experiments(search):
        if experiment["name"] == name:
            point, commit = to_point(experiment), experiment["revs"][0]["rev"]
            head, history = (
                list(csv.DictReader(read_at(commit, str(path)).splitlines()))
                for path in (HISTORY_HEAD, HISTORY)
            )
            epochs = point["metrics"][FINE_TUNE]["epochs"]
            return point, score_quarters(history[len(head) :], epochs)
    raise UserError(f"{name} ended without an error, but `dvc exp show` does not have it")
