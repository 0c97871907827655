"""Measure the throughput of each strategy: python -m benchmarks.strategies [name=value …]

One device, two devices of the CPU, and two processes with a core each, in turn. On two cores all
have the same arithmetic to do, so this measures what sharing it out costs, not what it gains.
Values replace those of params.yaml, such as data_url=sample.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import yaml

from benchmarks import report
from benchmarks.common import BENCHMARKS, measure, project_copy, save_results
from transfer.core.files import SPLIT, read_csv
from transfer.training.launch import environments_here

ROUNDS = 3
STAGES = {"train_head": "head", "fine_tune": "fine-tuning"}
# What each process of a strategy has in its environment, and on which cores it runs.
STRATEGIES = {
    "one": lambda: [({}, "0,1")],
    "mirrored, 2 devices of the CPU": lambda: [({"TRANSFER_CPU_REPLICAS": "2"}, "0,1")],
    "multi_worker, 2 processes": lambda: [
        (environment, str(core)) for core, environment in enumerate(environments_here(2))
    ],
}


def main() -> None:
    changes = dict(argument.split("=", 1) for argument in sys.argv[1:])
    values = {"head_epochs": 4, "fine_tune_epochs": 4}
    values |= {name: yaml.safe_load(value) for name, value in changes.items()}
    rates = {name: {phase: [] for phase in STAGES.values()} for name in STRATEGIES}
    with project_copy(**values) as folder:
        for stage in ("download", "split", "features"):
            measure([sys.executable, "-m", f"stages.{stage}"], folder)
        rows = read_csv(folder / SPLIT / "manifest.csv")
        pictures = sum(row["split"] == "train" for row in rows)
        for _ in range(ROUNDS):
            for stage, phase in STAGES.items():
                for name, processes in STRATEGIES.items():
                    seconds = epoch_seconds(folder, stage, processes())
                    rates[name][phase].append(pictures / seconds)
    medians = {
        name: {phase: median(all_of) for phase, all_of in of.items()} for name, of in rates.items()
    }
    report.write(save_results({"strategies": medians}))


def epoch_seconds(folder: Path, stage: str, processes: list[tuple[dict, str]]) -> float:
    """Return the median seconds of a training epoch; the first, which compiles, is none."""
    result = folder / "result.json"
    path = os.pathsep.join((str(folder), str(BENCHMARKS)))
    cache = {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": path}
    running = [
        subprocess.Popen(
            ["taskset", "-c", cores, sys.executable, BENCHMARKS / "ours.py", stage, result],
            cwd=folder,
            stdout=sys.stderr,
            env=os.environ | cache | environment,
        )
        for environment, cores in processes
    ]
    if any([process.wait() for process in running]):
        sys.exit(f"error: {stage} failed")
    return median(json.loads(result.read_text())["train"][1:])


if __name__ == "__main__":
    main()
