"""Compare our training with PyTorch's on the same machine: python -m benchmarks.peer PYTHON.

PYTHON is an interpreter that has PyTorch and torchvision, such as Debian's /usr/bin/python3. Both
sides take turns. The floor is three times the operations of a forward pass of the layers that
train, and once those of the frozen ones, at the rate of a matrix product; `fine-tuning` is from the
first convolution of block_11 up (layer 98), as in benchmarks/pytorch.py.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks import report
from benchmarks.common import BENCHMARKS, measure, save_results
from scripts.project import PROJECT

PHASES = ("head", "fine_tune")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", help="an interpreter that has PyTorch")
    parser.add_argument("--sizes", type=int, nargs="+", default=[160, 224])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    results = {}
    for size in arguments.sizes:
        sides = {
            "ours": [sys.executable, BENCHMARKS / "step.py"],
            "pytorch": [arguments.python, BENCHMARKS / "pytorch.py"],
        }
        runs = {name: [] for name in sides}
        for _ in range(arguments.rounds):
            for name, command in sides.items():
                runs[name].append(run(command, size))
        results[str(size)] = {
            name: {
                key: statistics.median(row[key] for row in rows)
                for key in rows[0]
                if isinstance(rows[0][key], float)
            }
            for name, rows in runs.items()
        } | {"torch": runs["pytorch"][0]["torch"]}
    report.write(save_results({"peer": results}))


def run(command: list, size: int) -> dict:
    """Run one side; return what it measured."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        measure([*command, result, "--size", size], PROJECT)
        return json.loads(result.read_text())


if __name__ == "__main__":
    main()
