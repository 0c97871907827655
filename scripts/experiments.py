"""Experiments as DVC and Git know them: parameters, metrics, states, files and logs."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from ruamel.yaml import YAML

from transfer.core.errors import UserError

# The stages that make the scores.
SCORING = ("download", "split", "train_head", "fine_tune", "evaluate")
CODE = ("stages/", "transfer/")
FINE_TUNE, EVALUATE = "metrics/fine_tune.json", "metrics/evaluate.json"
WORKSPACE = "workspace"  # what DVC calls the files as they are, committed or not
POLL_SECONDS = 10  # listing the experiments takes one or two
LIST_SECONDS = 60  # after which the listing counts as hung
LIST_ATTEMPTS = 3  # that may fail, each while a worker removes an experiment's folder
TRAINED = re.compile(r"^(?:train_head|fine_tune): .*, (\d+) s$", re.MULTILINE)

load_yaml = YAML(typ="safe", pure=True).load  # YAML 1.2, as DVC reads it: 1e-05 is a number


def dvc(*arguments: str, read: bool = False, timeout: float | None = None) -> str:
    """Run dvc.

    Args:
        arguments: Of the command.
        read: Return what it prints; otherwise it goes to the terminal.
        timeout: Kill it after this many seconds.

    Raises:
        UserError: It failed; its own message is on the terminal.
        subprocess.TimeoutExpired: It was killed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        stdout=subprocess.PIPE if read else None,
        text=True,
        timeout=timeout,
    )
    if done.returncode:
        raise UserError(
            f"`dvc {' '.join(arguments)}` failed; its message is above, and "
            "docs/troubleshooting.md has the usual causes"
        )
    return done.stdout


def git(*arguments: str) -> str:
    """Return what git prints; nothing if it fails."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    return "" if done.returncode else done.stdout.strip()


def list_revisions() -> list[dict]:
    """Return the workspace and the commit, each with its experiments, as `dvc exp show` has them.

    The command fails, or never returns, if a worker removes the temporary repository of an
    experiment while the command reads it (DVC 3.67.1, pygit2 1.21.0); it is then started again.

    Raises:
        UserError: dvc failed LIST_ATTEMPTS times.
    """
    timeout, failures = LIST_SECONDS, 0
    while True:
        try:
            return json.loads(dvc("exp", "show", "--json", read=True, timeout=timeout))
        except subprocess.TimeoutExpired:
            timeout *= 2  # it may only be slow
        except UserError:
            failures += 1
            if failures == LIST_ATTEMPTS:
                raise
            print("an experiment may just have ended; listing again", file=sys.stderr)
            time.sleep(POLL_SECONDS)


def state(experiment: dict) -> str:
    """Return queued, running, success or failed."""
    return (experiment["executor"] or {"state": "success"})["state"]


def to_point(experiment: dict) -> dict:
    """Return what there is of an experiment in a flat form.

    Args:
        experiment: As `dvc exp show --json` prints it.

    Returns:
        name, revision, params, inputs (what else determines the result: the name and a hash of
        each), metrics (by file) and seconds. What can't be read is empty.
    """
    revision = experiment["revs"][0]
    data = revision["data"] or {"params": {}, "metrics": {}, "deps": {}, "outs": {}}
    params, metrics = (
        {path: content.get("data") or {} for path, content in data[kind].items()}
        for kind in ("params", "metrics")
    )
    made = data["outs"].keys() | metrics.keys()
    inputs = {named(path): dep["hash"] for path, dep in data["deps"].items() if path not in made}
    code = {path: inputs.pop(path) for path in list(inputs) if path.startswith(CODE)}
    machine = {name: metrics.get(FINE_TUNE, {}).get(name) for name in ("cpu", "threads")}
    return {
        "name": experiment["name"] or revision["rev"][:9],
        "revision": revision["rev"],
        "params": params.get("params.yaml", {}),
        "inputs": {"code": code} | inputs | machine,
        "metrics": metrics,
        "seconds": training_seconds(experiment),
    }


def named(path: str) -> str:
    """Return a path as DVC prints it for a commit: of images outside of the project, from the root.

    For the workspace it prints how to get there, `../…`.
    """
    return os.path.abspath(path).lstrip("/") if path.startswith("..") else path


def training_seconds(experiment: dict) -> str:
    """Return the seconds that the stages of an experiment trained.

    They are only in the log of the queue: a duration in an output would make equal runs differ.

    Returns:
        A number; `cached` if DVC had all results in its cache; `elsewhere` if the experiment ran on
        another machine, or outside of the queue.
    """
    log = ((experiment["executor"] or {}).get("local") or {}).get("log")
    if not log or not Path(log).exists():
        return "elsewhere"
    trained = TRAINED.findall(Path(log).read_text("utf-8", "replace"))
    return str(sum(map(int, trained))) if trained else "cached"


def read_at(revision: str, path: str) -> str | None:
    """Return the text of a file in a Git revision or the workspace; None if it has no such file.

    Args:
        revision: A commit, or WORKSPACE.
        path: Relative to the working directory.
    """
    if revision == WORKSPACE:
        return Path(path).read_text("utf-8") if Path(path).exists() else None
    command = ["git", "show", f"{revision}:./{path}"]
    done = subprocess.run(command, capture_output=True)
    return None if done.returncode else done.stdout.decode()


def read_stages(revision: str) -> dict[str, dict]:
    """Return what dvc.lock says of the stages that make the scores, by their names.

    Args:
        revision: A commit, or WORKSPACE.
    """
    stages = load_yaml(read_at(revision, "dvc.lock") or "stages: {}")["stages"]
    return {name: stage for name, stage in stages.items() if name in SCORING}


def is_outdated(revision: str) -> bool:
    """Return whether the test scores of a revision are older than what they depend on.

    So they are after `dvc exp run train_head`, or an edit of params.yaml: the results of the stages
    that did not run are still those of the commit.

    Args:
        revision: A commit, or WORKSPACE.
    """
    params = load_yaml(read_at(revision, "params.yaml") or "{}")
    stages = read_stages(revision).values()
    made = {out["path"]: out["md5"] for stage in stages for out in stage["outs"]}
    used = [dep for stage in stages for dep in stage["deps"]]
    values = [v for stage in stages for v in stage.get("params", {}).get("params.yaml", {}).items()]
    return any(made.get(dep["path"], dep["md5"]) != dep["md5"] for dep in used) or any(
        params.get(name, value) != value for name, value in values
    )
