"""Kill training at random moments; the run after it must end as if nothing had been.

    python -m tests.faults.kills [--short]

Each kill hits `dvc repro` while it runs train_head or fine_tune: the stage; DVC itself, which
leaves the stage behind; both at once, as a loss of power does; or all with SIGINT, as Ctrl-C does.
The same command then runs again, until no kill is due, and every output is compared, to the byte,
with those of a run that nothing happened to.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

from scripts.project import detach_from_git, temporary_copy
from tests.faults.table import record
from transfer.core.files import list_files, sha256

STAGES = ("train_head", "fine_tune")
KILLS_A_RUN = 3
SETTINGS = {
    "data_url": "sample",
    "base_weights": "random",
    "recipe": "tutorial",
    "image_size": 64,
    "fine_tune_at": 60,
    "head_epochs": 30,
    "fine_tune_epochs": 30,
}
KINDS = {
    "SIGKILL to the stage": lambda dvc, stage: stage.kill(),
    "SIGKILL to dvc, the stage orphaned": lambda dvc, stage: dvc.kill(),
    "SIGKILL to both": lambda dvc, stage: (dvc.kill(), stage.kill()),
    "SIGTERM to the stage": lambda dvc, stage: stage.terminate(),
    "SIGTERM to dvc": lambda dvc, stage: dvc.terminate(),
    "Ctrl-C": lambda dvc, stage: os.killpg(dvc.pid, signal.SIGINT),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a run with three kills")
    short = parser.parse_args().short
    kinds = list(KINDS)[:KILLS_A_RUN] if short else [*KINDS] * 6
    stages = STAGES[-1:] if short else STAGES
    rng = np.random.default_rng(0)
    with temporary_copy(**SETTINGS) as folder:
        detach_from_git(folder)
        os.environ |= {"XDG_CACHE_HOME": str(folder / "cache"), "DVC_SITE_CACHE_DIR": str(folder)}
        dvc(folder, "repro", STAGES[-1])
        seconds = {stage: timed(folder, stage) for stage in stages}
        expected = outputs(folder)
        survived, otherwise, resumed = Counter(), Counter(), 0
        runs = rng.permutation(kinds).reshape(-1, KILLS_A_RUN).tolist()
        for number, now in enumerate(runs, start=1):
            stage = stages[number % len(stages)]
            for kind in now:
                kill(folder, stage, kind, rng, seconds[stage])
            log = dvc(folder, "repro", "--force", "--single-item", stage)
            resumed += "continuing an interrupted run" in log
            same = outputs(folder) == expected
            print(
                f"{stage}: {'same' if same else 'OTHER'} bytes after {', '.join(now)}", flush=True
            )
            survived.update(now)
            otherwise.update([] if same else now)
    print(f"{resumed} of {len(runs)} last runs went on from an earlier one's epochs")
    said = "the next run ends with the same bytes, no traceback"
    record("kills", [(kind, survived[kind], said, otherwise[kind]) for kind in survived])


def timed(folder: Path, stage: str) -> float:
    """Return the seconds that a stage takes from its start on, TensorFlow's loading included."""
    with started(folder, stage) as (process, _):
        begun = time.monotonic()
        process.wait()
        return time.monotonic() - begun


@contextmanager
def started(folder: Path, stage: str) -> Iterator[tuple[psutil.Popen, psutil.Process]]:
    """Start `dvc repro` and yield it and the stage that it runs, which has just begun."""
    with (folder / "log").open("wb") as log:
        process = psutil.Popen(
            ["dvc", "repro", "--force", "--single-item", stage],
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a process group of its own, for Ctrl-C
            # A shell has those that it runs in the background ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        while process.is_running():
            children = process.children(recursive=True)
            if stages := [child for child in children if f"stages.{stage}" in child.cmdline()]:
                yield process, stages[-1]
                return
            time.sleep(0.01)


def dvc(folder: Path, *arguments: str) -> str:
    """Run dvc to its end; return what it printed, which may hold no traceback."""
    done = subprocess.run(["dvc", *arguments], cwd=folder, capture_output=True, text=True)
    log = done.stdout + done.stderr
    if done.returncode or "Traceback" in log:
        sys.exit(f"error: dvc {' '.join(arguments)} failed: {log}")
    return log


def kill(folder: Path, stage: str, kind: str, rng: np.random.Generator, seconds: float) -> None:
    """Kill a run at a random moment; return when DVC is gone, though maybe not what it ran.

    A run that ends before its moment counts for nothing, and another one begins.
    """
    hit = False
    while not hit:
        with started(folder, stage) as (process, victim):
            time.sleep(rng.uniform(0, seconds))
            hit = process.status() != psutil.STATUS_ZOMBIE and victim.is_running()
            if hit:
                KINDS[kind](process, victim)
            process.wait()
        log = (folder / "log").read_text()
        if "Traceback" in log:
            sys.exit(f"error: {kind} left a traceback: {log}")


def outputs(folder: Path) -> dict[str, str]:
    """Return the hash of every file that the pipeline wrote."""
    return {
        f"{top}/{name}": sha256(folder / top / name)
        for top in ("data", "models", "metrics", "plots")
        for name in list_files(folder / top)
        if not name.startswith(".partial-") and name != ".gitignore"
    }


if __name__ == "__main__":
    main()
