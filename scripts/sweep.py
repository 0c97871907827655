"""Run a grid of parameters through DVC's queue; draw one table and one picture of it.

    python -m scripts.sweep 'fine_tune_at=range(60,140,20)' fine_tune_learning_rate=1e-5,1e-4

Each point is an experiment of DVC, which caches what points share. With --name and no grid it goes
on with a sweep that broke off, or draws a finished one again. Several machines, a clone each, share
a sweep out:

    python -m scripts.sweep --name grid --part 2/4 --push origin fine_tune_at=60,100,140
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from tqdm import tqdm

from transfer.core.errors import UserError, run_main
from transfer.core.files import write_csv
from transfer.reporting.figures import save, styled

COLUMNS = {
    "validation accuracy": ("metrics/fine_tune.json", "val_accuracy"),
    "validation loss": ("metrics/fine_tune.json", "val_loss"),
    "test accuracy": ("metrics/evaluate.json", "accuracy"),
    "low": ("metrics/evaluate.json", "accuracy_low"),
    "high": ("metrics/evaluate.json", "accuracy_high"),
    "trainable parameters": ("metrics/fine_tune.json", "trainable_parameters"),
}
WHOLE = (1, 1)  # part 1 of 1
POLL = 10  # seconds; a look costs one or two
TRAINED = re.compile(r"^(?:train_head|fine_tune): .*, (\d+) s$", re.MULTILINE)


def main() -> None:
    arguments = parse(sys.argv[1:])
    name = arguments.name or time.strftime("sweep-%m%d-%H%M%S")
    if arguments.grid:
        settings = [part for point in arguments.grid for part in ("-S", point)]
        dvc("exp", "run", "--queue", "--name", name, *settings)
        if arguments.part != WHOLE:
            leave_to_others(name, *arguments.part)
    experiments = work_off(name, arguments.jobs)
    points = [point_of(e) for e in experiments if state(e) == "success"]
    failed = [e["name"] for e in experiments if state(e) != "success"]
    if not points:
        raise UserError(
            f"none of the {len(failed)} experiments of {name} on this commit succeeded; "
            "`dvc queue status` lists them and `dvc queue logs NAME` tells why"
        )
    if arguments.push:
        dvc("exp", "push", arguments.push, *(point["name"] for point in points))
    swept = swept_parameters(points)
    table = [row_of(point, swept, seconds(point["name"])) for point in ranked(points)]
    folder = Path("sweeps", name)
    write_csv(folder / "table.csv", list(table[0]), [list(row.values()) for row in table])
    text = markdown(table)
    (folder / "table.md").write_text(text)
    save(draw(table, swept), folder / "accuracy.png")
    print(f"{text}\nsweep: {len(points)} points, best first by validation, in {folder}/")
    if failed:
        print(f"sweep: failed: {', '.join(failed)}; `dvc queue logs {failed[0]}` tells why")


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
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
        parser.error("give the grid and the --name that all the parts have")
    return arguments


def part(text: str) -> tuple[int, int]:
    """Read K/N.

    Raises:
        ValueError: It is no such thing, or K is not one of 1 to N.
    """
    number, parts = map(int, text.split("/"))
    if not 1 <= number <= parts:
        raise ValueError
    return number, parts


def leave_to_others(name: str, number: int, parts: int) -> None:
    """Remove from the queue the points that are other parts'; every machine numbers all alike.

    Raises:
        UserError: The grid has fewer points than there are parts, and none for this one.
    """
    points = list_experiments(name)
    places = [int(point["name"].removeprefix(name).removeprefix("-") or 1) for point in points]
    others = [
        point["name"]
        for point, place in zip(points, places, strict=True)
        if (place - number) % parts and state(point) == "queued"
    ]
    if others:
        dvc("queue", "remove", *others)
    if max(places) < number:
        raise UserError(f"the grid has {max(places)} points, so no part {number} of {parts}")


def dvc(*arguments: str, read: bool = False) -> str:
    """Run dvc; return what it printed if `read`, else let it print.

    Raises:
        UserError: It failed; its own words are on the screen.
    """
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        stdout=subprocess.PIPE if read else None,
        text=True,
    )
    if done.returncode:
        raise UserError(f"`dvc {' '.join(arguments)}` failed, as said above")
    return done.stdout


def work_off(name: str, jobs: int) -> list[dict]:
    """Have DVC's workers run the sweep's experiments; return what `dvc exp show` says of them.

    A worker that reads a control message while it is written ends early (DVC 3.67.1, Kombu 5.7.0),
    and `dvc exp run --run-all` then waits for ever; here another worker takes its place.
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
            time.sleep(POLL)


def start_workers(jobs: int) -> None:
    """Start the workers that are missing; none gets hold of our output, which it would keep open.

    Raises:
        UserError: dvc can't.
    """
    command = [sys.executable, "-m", "dvc", "queue", "start", "--jobs", str(jobs)]
    if subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        raise UserError("`dvc queue start` failed; run it by hand to see why")


def list_experiments(name: str) -> list[dict]:
    """Return the sweep's experiments on this commit, as `dvc exp show --json` has them."""
    revisions = json.loads(dvc("exp", "show", "--json", read=True))
    named = re.compile(rf"{re.escape(name)}(-\d+)?")
    every = [e for revision in revisions for e in revision["experiments"] or []]
    return [e for e in every if named.fullmatch(e["name"] or "")]


def state(experiment: dict) -> str:
    """Return queued, running, success or failed."""
    return (experiment["executor"] or {"state": "success"})["state"]


def point_of(experiment: dict) -> dict:
    """Return name, params and metrics (by file) of an experiment that succeeded."""
    data = experiment["revs"][0]["data"]
    return {
        "name": experiment["name"],
        "params": data["params"]["params.yaml"]["data"],
        "metrics": {path: of["data"] for path, of in data["metrics"].items()},
    }


def swept_parameters(points: list[dict]) -> list[str]:
    """Return the parameters that differ, the one of most values first."""
    values = {name: {str(p["params"].get(name)) for p in points} for name in points[0]["params"]}
    return sorted((n for n in values if len(values[n]) > 1), key=lambda n: -len(values[n]))


def ranked(points: list[dict]) -> list[dict]:
    """Sort by validation accuracy, then loss: choosing on the test pictures would flatter."""
    scores = lambda point: point["metrics"]["metrics/fine_tune.json"]  # noqa: E731
    return sorted(points, key=lambda p: (-scores(p)["val_accuracy"], scores(p)["val_loss"]))


def seconds(experiment: str) -> str:
    """Return the seconds that the stages say they trained; or that all came from DVC's cache, or
    that the point ran on another machine.

    They are in the log of the queue only: a duration in an output would make equal runs differ.
    """
    command = [sys.executable, "-m", "dvc", "queue", "logs", experiment]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return "elsewhere"
    trained = TRAINED.findall(done.stdout)
    return str(sum(map(int, trained))) if trained else "cached"


def row_of(point: dict, swept: list[str], trained: str) -> dict:
    """Return a row of the table, the columns by their names."""
    metrics = {column: point["metrics"][path][key] for column, (path, key) in COLUMNS.items()}
    return (
        {"experiment": point["name"]}
        | {name: point["params"][name] for name in swept}
        | metrics
        | {"seconds": trained}
    )


def markdown(table: list[dict]) -> str:
    """Format the table for people, the interval in one column."""
    rows = []
    for row in table:
        low, high = row["low"], row["high"]
        shown = {column: value for column, value in row.items() if column not in ("low", "high")}
        shown["validation accuracy"] = f"{row['validation accuracy']:.4f}"
        shown["validation loss"] = f"{row['validation loss']:.4f}"
        shown["test accuracy"] = f"{row['test accuracy']:.3f} ({low:.3f} to {high:.3f})"
        shown["trainable parameters"] = f"{row['trainable parameters']:,}"
        rows.append(shown)
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def in_order(values: Iterable) -> list:
    """Sort values, or tuples of them; numbers first where they are mixed with layers' names."""
    rank = lambda value: (0, value) if isinstance(value, int | float) else (1, str(value))  # noqa: E731
    return sorted(
        values, key=lambda v: [rank(part) for part in (v if isinstance(v, tuple) else (v,))]
    )


@styled
def draw(table: list[dict], swept: list[str]) -> Figure:
    """Plot accuracy over the first swept parameter, a line for each value of the others.

    Left, on the validation pictures, by which the points are ranked; right, on the test pictures,
    with Wilson's 95 % interval.
    """
    along, *others = swept or ["experiment"]
    values = in_order({row[along] for row in table})
    lines = {}
    for row in sorted(table, key=lambda row: values.index(row[along])):
        lines.setdefault(tuple(row[name] for name in others), []).append(row)
    shades = colormaps["viridis"](np.linspace(0, 0.85, len(lines)))
    figure = Figure(figsize=(11, 4.6))
    left, right = figure.subplots(1, 2)
    for number, (key, color) in enumerate(zip(in_order(lines), shades, strict=True)):
        places = np.array([values.index(row[along]) for row in lines[key]])
        left.plot(places, [row["validation accuracy"] for row in lines[key]], "o-", color=color)
        accuracy, low, high = np.array(
            [(row["test accuracy"], row["low"], row["high"]) for row in lines[key]]
        ).T
        right.errorbar(
            places + (number - (len(lines) - 1) / 2) * 0.12,  # no interval hides another
            accuracy,
            (accuracy - low, high - accuracy),
            fmt="o",
            capsize=3,
            color=color,
            label=", ".join(f"{name} {value}" for name, value in zip(others, key, strict=True)),
        )
    left.set(title="Validation pictures", xlabel=along, ylabel="accuracy")
    right.set(title="Test pictures, with the 95 % interval", xlabel=along)
    for axes in (left, right):
        axes.set_xticks(range(len(values)), values)
    if others:
        figure.legend(loc="outside lower center", ncols=min(len(lines), 3))
    return figure


if __name__ == "__main__":
    run_main(main)
