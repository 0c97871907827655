"""Train as the tutorial's script does and as our stages do, in turn, and compare.

Both see the same images in the same splits, start from the same weights and train for the same
number of epochs. The script runs in the default environment, and for the last seed once more with
oneDNN switched the other way. Our time includes decoding the images, which the script does in every
epoch. Seeds that results.json has already, by this code on this machine, are not run again.
"""

import argparse
import csv
import json
import shutil
import statistics
import sys
from pathlib import Path

from scipy import stats

from benchmarks import report
from benchmarks.common import BENCHMARKS, made_by, measure, read_results, save_results
from scripts.project import set_params, temporary_copy

PHASES = ("head", "fine_tune")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=10, help="of each phase")
    parser.add_argument("--only-default", action="store_true", help="don't switch oneDNN")
    arguments = parser.parse_args()
    epochs = {f"{phase}_epochs": arguments.epochs for phase in PHASES}
    onednn = onednn_is_on()
    switched = {"TF_ENABLE_ONEDNN_OPTS": "0" if onednn else "1"}
    runs = runs_so_far(arguments.epochs, arguments.seeds)

    def keep(name: str, run: dict) -> None:
        runs[name].append(run)
        comparison = {"epochs": arguments.epochs, "onednn_by_default": onednn, "runs": runs}
        if runs["tutorial"]:
            report.write(save_results(summary(runs, onednn) | {"comparison": comparison}))

    with temporary_copy(recipe="tutorial", **epochs) as folder:
        measure([sys.executable, "-m", "stages.download"], folder)
        for seed in arguments.seeds[len(runs["tutorial"]) :]:
            set_params(folder, seed=seed)
            keep("ours", run_ours(folder) | {"seed": seed})
            link_splits(folder)
            keep("tutorial", run_tutorial(folder, seed, arguments.epochs) | {"seed": seed})
        if not arguments.only_default and not runs["tutorial_switched"]:
            seed = arguments.seeds[-1]
            set_params(folder, seed=seed)
            measure([sys.executable, "-m", "stages.split"], folder)
            link_splits(folder)
            run = run_tutorial(folder, seed, arguments.epochs, **switched)
            keep("tutorial_switched", run | {"seed": seed})


def runs_so_far(epochs: int, seeds: list[int]) -> dict[str, list[dict]]:
    """Return the runs in results.json of the first seeds, by this code on this machine."""
    results = read_results()
    comparison = results.get("comparison", {})
    if comparison.get("epochs") == epochs and results["made_by"]["comparison"] == made_by():
        runs = comparison["runs"]
        done = len(runs["tutorial"])
        if [run["seed"] for run in runs["tutorial"]] == seeds[:done]:
            return runs | {"ours": runs["ours"][:done]}
    return {"ours": [], "tutorial": [], "tutorial_switched": []}


def onednn_is_on() -> bool:
    """Return whether TensorFlow uses oneDNN by default on this machine."""
    from tensorflow.python.util import _pywrap_util_port

    return _pywrap_util_port.IsMklEnabled()


def run_ours(folder: Path) -> dict:
    """Run our stages; return seconds, epochs, accuracies and peak memory."""
    seconds, memory = {}, {}
    for stage in ("split", "train_head", "fine_tune", "evaluate", "plot"):
        command = [sys.executable, "-m", f"stages.{stage}"]
        if stage in ("train_head", "fine_tune"):
            command = [sys.executable, BENCHMARKS / "ours.py", stage, folder / f"{stage}.json"]
        seconds[stage], memory[stage] = measure(command, folder)
    phases = (read(folder / "train_head.json"), read(folder / "fine_tune.json"))
    trained = [seconds[stage] for stage in ("split", "train_head", "fine_tune")]
    return dict(zip(PHASES, phases, strict=True)) | {
        "seconds": sum(trained),
        "stages": seconds,
        "memory": max(memory.values()),
        "test": read(folder / "metrics/evaluate.json")["accuracy"],
    }


def run_tutorial(folder: Path, seed: int, epochs: int, **environment: str) -> dict:
    """Run the tutorial's script; return the same measurements."""
    result = folder / "tutorial.json"
    options = ["--seed", seed, "--epochs", epochs]
    command = [sys.executable, BENCHMARKS / "tutorial.py", "splits", "models/base.weights.h5"]
    seconds, memory = measure([*command, result, *options], folder, **environment)
    run = read(result)
    test = run.pop("test")
    return run | {
        "seconds": seconds - test["seconds"],
        "memory": memory,
        "test": test["accuracy"],
    }


def link_splits(folder: Path) -> None:
    """Fill splits/{train,val,test}/<class>/ with links to the images."""
    shutil.rmtree(folder / "splits", ignore_errors=True)
    with (folder / "data/split/manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            image = folder / "data/raw" / row["path"]
            link = folder / "splits" / row["split"] / row["label"] / image.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(image)


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def summary(runs: dict[str, list[dict]], onednn: bool) -> dict:
    """Return the numbers that summarize the comparison; ratios are medians over the seeds."""
    total, head, fine_tune = (
        statistics.median(
            seconds(theirs) / seconds(ours)
            for theirs, ours in zip(runs["tutorial"], runs["ours"], strict=False)
        )
        for seconds in (
            lambda run: run["seconds"],
            phase_seconds("head"),
            phase_seconds("fine_tune"),
        )
    )
    ours = {run["seed"]: run["seconds"] for run in runs["ours"]}
    switched = [run["seconds"] / ours[run["seed"]] for run in runs["tutorial_switched"]]
    other = switched[0] if switched else None
    return {
        "speedup_total": total,
        "speedup_head": head,
        "speedup_fine_tune": fine_tune,
        "speedup_total_onednn": total if onednn else other,
        "speedup_total_without_onednn": other if onednn else total,
        "accuracy_ours": accuracy(runs["ours"]),
        "accuracy_tutorial": accuracy(runs["tutorial"]),
        "peak_memory_ours_mb": max(run["memory"] for run in runs["ours"]),
        "peak_memory_tutorial_mb": max(run["memory"] for run in runs["tutorial"]),
    }


def phase_seconds(phase: str):
    """Return a function that adds up the seconds of a phase, including validation, in a run."""
    return lambda run: sum(run[phase]["train"] + run[phase]["validation"])


def accuracy(runs: list[dict]) -> dict:
    """Return the mean over the seeds, on validation and test images, and its 95 % interval."""
    result = {}
    for name, score in (
        ("validation", lambda run: run["fine_tune"]["val_accuracy"]),
        ("test", lambda run: run["test"]),
    ):
        values = [score(run) for run in runs]
        half = 0.0
        if len(values) > 1:
            half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
        result[name] = {"mean": statistics.mean(values), "plus_minus": half}
    return result


if __name__ == "__main__":
    main()
