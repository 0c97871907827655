"""Measure what stored views save a sweep of the head's learning rate, and what they do to accuracy.

It runs the commands that a user types: `dvc repro`, then `dvc exp run -S …` for each point.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import report
from benchmarks.common import save_results
from scripts.project import temporary_copy

LEARNING_RATES = (3e-5, 5e-5, 1e-4, 2e-4, 3e-4, 5e-4, 1e-3, 2e-3)
VIEWS = 10  # as many as the head has epochs: each trains on a view of its own
FROM = "block_13_expand"  # as high as the stored features for fine-tuning reach


def main() -> None:
    with (
        temporary_copy(recipe="tutorial", fine_tune_at=FROM) as folder,
        TemporaryDirectory() as cache,
    ):
        os.environ["XDG_CACHE_HOME"] = cache  # that of the user may hold these views already
        run(folder, "git", "init", "-q")
        run(folder, "git", "add", "-A")
        author = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")
        run(folder, "git", *author, "commit", "-qm", "project")
        run(folder, "dvc", "repro", "split")
        whole = run(folder, "dvc", "repro")
        accuracies = {0: scores(folder, whole)}
        sweep = f"dvc exp run -S views={VIEWS} train_head -S head_learning_rate="
        points = [run(folder, *f"{sweep}{rate}".split()) for rate in LEARNING_RATES]
        accuracies |= {views: fine_tuned(folder, views) for views in (3, VIEWS)}
    sweep = {
        "whole_run_seconds": whole,
        "learning_rates": LEARNING_RATES,
        "sweep_seconds": points,
        "sweep_in_whole_runs": sum(points) / whole,
        "accuracy_by_views": accuracies,
    }
    report.write(save_results({"sweep": sweep}))


def fine_tuned(folder: Path, views: int) -> dict:
    """Run the whole pipeline with a number of views; return its scores."""
    settings = (f"views={views}", "head_learning_rate=0.0001")
    seconds = run(folder, "dvc", "exp", "run", *(w for s in settings for w in ("-S", s)))
    return scores(folder, seconds)


def scores(folder: Path, seconds: float) -> dict:
    of = lambda name: json.loads((folder / f"metrics/{name}.json").read_text())  # noqa: E731
    return {
        "seconds": seconds,
        "head_validation": of("train_head")["val_accuracy"],
        "validation": of("fine_tune")["val_accuracy"],
        "test": of("evaluate")["accuracy"],
        "loss": of("fine_tune")["val_loss"],
    }


def run(folder: Path, *command: str) -> float:
    """Run a command; return its seconds."""
    module = (sys.executable, "-m") if command[0] == "dvc" else ()
    started = time.monotonic()
    done = subprocess.run([*module, *command], cwd=folder, stdout=sys.stderr)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} failed")
    return time.monotonic() - started


if __name__ == "__main__":
    main()
