"""Kill training at random moments; the run after it must end as if nothing had been.

    python -m torture.kills [--short]

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
from pathlib import Path

import numpy as np
import psutil

from benchmarks.common import project_copy
from torture.table import record
from transfer.files import list_files, sha256

STAGES = ("train_head", "fine_tune")
KILLS_A_RUN = 3
SETTINGS = {
    "data_url": "sample",
    "base_weights": "random",
    "image_size": 64,
    "fine_tune_at": 60,
    "head_epochs": 12,
    "fine_tune_epochs": 12,
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
    with project_copy(**SETTINGS) as folder:
        os.environ |= {"XDG_CACHE_HOME": str(folder / "cache"), "DVC_SITE_CACHE_DIR": str(folder)}
        subprocess.run(["dvc", "config", "core.no_scm", "true"], cwd=folder, check=True)
        dvc(folder, "repro", STAGES[-1])
        seconds = {stage: timed(folder, stage) for stage in stages}
        expected = outputs(folder)
        survived, otherwise, resumed = Counter(), Counter(), 0
        runs = rng.permutation(kinds).reshape(-1, KILLS_A_RUN).tolist()
        for number, now in enumerate(runs, start=1):
            stage = stages[number % len(stages)]
            for kind in now:
                kill(folder, stage, kind, rng.uniform(0, seconds[stage]))
            log = dvc(folder, "repro", "--force", "--single-item", stage)
            resumed += "an interrupted run left" in log
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
    started = time.monotonic()
    dvc(folder, "repro", "--force", "--single-item", stage)
    return time.monotonic() - started


def dvc(folder: Path, *arguments: str) -> str:
    """Run dvc to its end; return what it printed, which may hold no traceback."""
    done = subprocess.run(["dvc", *arguments], cwd=folder, capture_output=True, text=True)
    log = done.stdout + done.stderr
    if done.returncode or "Traceback" in log:
        sys.exit(f"error: dvc {' '.join(arguments)} failed: {log}")
    return log


def kill(folder: Path, stage: str, kind: str, after: float) -> None:
    """Start a run and kill it; return when DVC is gone, though maybe not what it ran."""
    log = folder / "killed.log"
    with log.open("wb") as file:
        process = psutil.Popen(
            ["dvc", "repro", "--force", "--single-item", stage],
            cwd=folder,
            stdout=file,
            stderr=file,
            start_new_session=True,  # a process group of its own, for Ctrl-C
        )
        time.sleep(after)
        victims = [
            child for child in process.children(recursive=True) if stage in str(child.cmdline())
        ]
        if process.is_running() and victims:
            KINDS[kind](process, victims[-1])
        else:  # before the stage began, or after its end
            process.kill()
        process.wait()
    if f"stages/{stage}.py" in log.read_text():
        sys.exit(f"error: {kind} left a traceback of the stage: {log.read_text()}")


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
