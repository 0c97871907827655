"""Measure the throughput of each strategy: python -m benchmarks.strategies [name=value …]

It measures one device, two devices of the CPU, and two processes with one core each, in turn. On
the same two cores all do the same arithmetic, so this shows what distributing it costs, not what it
gains. The values replace those of params.yaml, for example data_url=sample.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from benchmarks import report
from benchmarks.common import BENCHMARKS, measure, save_results
from scripts.project import parse_change, temporary_copy
from transfer.core.files import SPLIT, read_csv
from transfer.training.launchers import environments_here

ROUNDS = 3
STAGES = {"train_head": "head", "fine_tune": "fine-tuning"}
# For each process of a strategy: its environment variables, and the cores that it runs on.
STRATEGIES = {
    "one": lambda: [({}, "0,1")],
    "mirrored, 2 devices of the CPU": lambda: [({"TRANSFER_CPU_REPLICAS": "2"}, "0,1")],
    "multi_worker, 2 processes": lambda: [
        (environment, str(core)) for core, environment in enumerate(environments_here(2))
    ],
}


def main() -> None:
    values = {"recipe": "tutorial", "head_epochs": 4, "fine_tune_epochs": 4} | dict(
        map(parse_change, sys.argv[1:])
    )
    rates = {name: {phase: [] for phase in STAGES.values()} for name in STRATEGIES}
    with temporary_copy(**values) as folder:
        for stage in ("download", "split"):
            measure([sys.executable, "-m", f"stages.{stage}"], folder)
        rows = read_csv(folder / SPLIT / "manifest.csv")
        image_count = sum(row["split"] == "train" for row in rows)
        for _ in range(ROUNDS):
            for stage, phase in STAGES.items():
                for name, processes in STRATEGIES.items():
                    seconds = epoch_seconds(folder, stage, processes())
                    rates[name][phase].append(image_count / seconds)
    medians = {
        name: {phase: median(values) for phase, values in by_phase.items()}
        for name, by_phase in rates.items()
    }
    report.write(save_results({"strategies": medians}))


def epoch_seconds(folder: Path, stage: str, processes: list[tuple[dict, str]]) -> float:
    """Return the median seconds of the training epochs, without the first, which also compiles."""
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
