"""Run a grid of parameters through DVC's queue; write a table and a figure of the results.

    python -m scripts.sweep 'fine_tune_at=range(60,140,20)' fine_tune_learning_rate=1e-5,1e-4

Each point of the grid is an experiment of DVC, which caches what points have in common. Without a
grid, the sweep called --name continues if it was interrupted, and its table and figure are written
again. Several machines, each with a clone, can share a sweep:

    python -m scripts.sweep --name grid --part 2/4 --push origin fine_tune_at=60,100,140
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from scripts.sweep_table import draw, find_swept, make_row, rank, to_markdown
from transfer.core.errors import UserError, run_main
from transfer.core.files import write_csv
from transfer.reporting.style import save

WHOLE = (1, 1)  # part 1 of 1
POLL_SECONDS = 10  # listing the experiments takes one or two
LIST_SECONDS = 60  # after which the listing counts as hung
LIST_ATTEMPTS = 3  # that may fail, each while a worker removes an experiment's folder
TRAINED = re.compile(r"^(?:train_head|fine_tune): .*, (\d+) s$", re.MULTILINE)


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
    table = [make_row(point, swept, training_seconds(point["name"])) for point in rank(points)]
    folder = Path("sweeps", name)
    write_csv(folder / "table.csv", list(table[0]), [list(row.values()) for row in table])
    text = to_markdown(table)
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
    """Return the experiments of a sweep on this commit, as `dvc exp show --json` prints them.

    The command fails, or never returns, if a worker removes the temporary repository of an
    experiment while the command reads it (DVC 3.67.1, pygit2 1.21.0); it is then started again.

    Raises:
        UserError: dvc failed LIST_ATTEMPTS times.
    """
    timeout, failures, revisions = LIST_SECONDS, 0, None
    while revisions is None:
        try:
            revisions = json.loads(dvc("exp", "show", "--json", read=True, timeout=timeout))
        except subprocess.TimeoutExpired:
            timeout *= 2  # it may only be slow
        except UserError:
            failures += 1
            if failures == LIST_ATTEMPTS:
                raise
            print(f"{name}: an experiment may just have ended; listing again", file=sys.stderr)
            time.sleep(POLL_SECONDS)
    named = re.compile(rf"{re.escape(name)}(-\d+)?")
    experiments = [e for revision in revisions for e in revision["experiments"] or []]
    return [e for e in experiments if named.fullmatch(e["name"] or "")]


def state(experiment: dict) -> str:
    """Return queued, running, success or failed."""
    return (experiment["executor"] or {"state": "success"})["state"]


def to_point(experiment: dict) -> dict:
    """Return name, params and metrics (by file) of an experiment that succeeded."""
    data = experiment["revs"][0]["data"]
    return {
        "name": experiment["name"],
        "params": data["params"]["params.yaml"]["data"],
        "metrics": {path: content["data"] for path, content in data["metrics"].items()},
    }


def training_seconds(experiment: str) -> str:
    """Return the seconds that the stages of an experiment trained.

    They are only in the log of the queue: a duration in an output would make equal runs differ.

    Returns:
        A number; `cached` if DVC had all results in its cache; `elsewhere` if the experiment ran on
        another machine.
    """
    command = [sys.executable, "-m", "dvc", "queue", "logs", experiment]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return "elsewhere"
    trained = TRAINED.findall(done.stdout)
    return str(sum(map(int, trained))) if trained else "cached"


if __name__ == "__main__":
    run_main(main)
