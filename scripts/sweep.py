"""Run a grid of parameters through DVC's queue; write a table and a figure of the results.

    python -m scripts.sweep 'fine_tune_at=range(60,140,20)' fine_tune_learning_rate=1e-5,1e-4

Each point of the grid is an experiment of DVC, which caches what points have in common. Without a
grid, the sweep called --name continues if it was interrupted, and its table and figure are written
again. Several machines, each with a clone, can share a sweep:

    python -m scripts.sweep --name grid --part 2/4 --push origin fine_tune_at=60,100,140
"""

import argparse
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from scripts.experiments import POLL_SECONDS, dvc, list_revisions, state, to_point
from scripts.sweep_table import draw, find_swept, make_row, to_text
from scripts.table import merit, to_markdown
from transfer.core.errors import UserError, run_main
from transfer.core.files import write_csv
from transfer.reporting.style import save

WHOLE = (1, 1)  # part 1 of 1


def main() -> None:
    arguments = parse(sys.argv[1:])
    name = arguments.name or time.strftime("sweep-%m%d-%H%M%S")
    if arguments.grid:
        settings = [word for parameter in arguments.grid for word in ("-S", parameter)]
        dvc("exp", "run", "--queue", "--name", name, *settings)
        if arguments.part != WHOLE:
            remove_other_parts(name, *arguments.part)
    experiments = run_queue(name, arguments.jobs)
    points = [to_point(e) for e in experiments if state(e) == "success"]
    failed = [e["name"] for e in experiments if state(e) != "success"]
    if not points:
        raise UserError(
            f"none of the {len(failed)} experiments of {name} on this commit succeeded; "
            "`dvc queue status` lists them and `dvc queue logs NAME` tells why"
        )
    if arguments.push:
        dvc("exp", "push", arguments.push, *(point["name"] for point in points))
    swept = find_swept(points)
    table = [make_row(point, swept) for point in sorted(points, key=lambda point: merit([point]))]
    folder = Path("sweeps", name)
    write_csv(folder / "table.csv", list(table[0]), [list(row.values()) for row in table])
    text = to_markdown(*to_text(table))
    (folder / "table.md").write_text(text, "utf-8")
    save(draw(table, swept), folder / "accuracy.png")
    print(f"{text}\nsweep: {len(points)} points, best first by validation, in {folder}/")
    if failed:
        print(f"sweep: failed: {', '.join(failed)}; `dvc queue logs {failed[0]}` tells why")


def parse(words: list[str]) -> argparse.Namespace:
    """Parse the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("grid", nargs="*", help="as for dvc exp run -S: name=1,2 or name=range(…)")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="points at a time")
    parser.add_argument("-n", "--name", help="of the sweep and, numbered, of its experiments")
    parser.add_argument("--part", type=part, default=WHOLE, help="K/N: each Nth point, from K on")
    parser.add_argument("--push", metavar="GIT_REMOTE", help="where to push the points when done")
    arguments = parser.parse_args(words)
    if not (arguments.grid or arguments.name):
        parser.error("give a grid, such as fine_tune_at=60,100,140, or the --name of a sweep")
    if arguments.part != WHOLE and not (arguments.grid and arguments.name):
        parser.error("--part needs the grid and the --name, the same on all machines")
    if arguments.jobs < 1:
        parser.error("--jobs must be above 0")
    return arguments


def part(text: str) -> tuple[int, int]:
    """Parse K/N.

    Raises:
        ValueError: The text is not two whole numbers, or K is not from 1 to N.
    """
    number, part_count = map(int, text.split("/"))
    if not 1 <= number <= part_count:
        raise ValueError
    return number, part_count


def remove_other_parts(name: str, number: int, part_count: int) -> None:
    """Remove the points of other parts from the queue.

    Every machine queues the whole grid, so all number the points alike.

    Args:
        name: Of the sweep.
        number: Of this part, from 1.
        part_count: Number of parts.

    Raises:
        UserError: The grid has fewer points than parts, and none for this part.
    """
    points = list_experiments(name)
    numbers = [int(point["name"].removeprefix(name).removeprefix("-") or 1) for point in points]
    others = [
        point["name"]
        for point, other in zip(points, numbers, strict=True)
        if (other - number) % part_count and state(point) == "queued"
    ]
    if others:
        dvc("queue", "remove", *others)
    if max(numbers) < number:
        raise UserError(
            f"the grid has {max(numbers)} points, so part {number} of {part_count} has none"
        )


def run_queue(name: str, jobs: int) -> list[dict]:
    """Let DVC's workers run the experiments of a sweep; return what `dvc exp show` says of them.

    A worker that reads a control message while it is being written ends early (DVC 3.67.1, Kombu
    5.7.0), and `dvc exp run --run-all` would then wait forever; here another worker replaces it.

    Args:
        name: Of the sweep.
        jobs: Experiments at a time.
    """
    with tqdm(desc=name, unit=" points", disable=None) as bar:
        while True:
            experiments = list_experiments(name)
            states = Counter(map(state, experiments))
            bar.total, bar.n = len(experiments), states["success"] + states["failed"]
            bar.refresh()
            if not states["queued"] + states["running"]:
                return experiments
            if states["queued"] and states["running"] < jobs:
                start_workers(jobs)
            time.sleep(POLL_SECONDS)


def start_workers(jobs: int) -> None:
    """Start the workers that are missing.

    Their output is discarded: they outlive this process and would keep its output open.

    Args:
        jobs: Number of workers that should run.

    Raises:
        UserError: dvc fails.
    """
    command = [sys.executable, "-m", "dvc", "queue", "start", "--jobs", str(jobs)]
    if subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        raise UserError("`dvc queue start` failed; run it yourself to see why")


def list_experiments(name: str) -> list[dict]:
    """Return the experiments of a sweep on this commit, as `dvc exp show --json` prints them."""
    named = re.compile(rf"{re.escape(name)}(-\d+)?")
    experiments = [e for revision in list_revisions() for e in revision["experiments"] or []]
    return [e for e in experiments if named.fullmatch(e["name"] or "")]


if __name__ == "__main__":
    run_main(main)
