"""Print a table of this commit and its experiments, best first by validation accuracy.

    python -m scripts.table
    python -m scripts.table --md    # Markdown
    python -m scripts.table --csv   # all digits

Experiments that differ only in `seed` are one row: mean ± standard deviation.
"""

import argparse
import csv
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import mean, stdev

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from scripts.experiments import (
    EVALUATE,
    FINE_TUNE,
    git,
    is_outdated,
    list_revisions,
    state,
    to_point,
)
from transfer.core.errors import UserError, printable, run_main

# Columns of scores: the metrics file, the key in it, and how many digits people see.
SCORES = {
    "validation accuracy": (FINE_TUNE, "val_accuracy", 4),
    "test accuracy": (EVALUATE, "accuracy", 3),
    "balanced accuracy": (EVALUATE, "balanced_accuracy", 3),
    "test loss": (EVALUATE, "loss", 3),
}
# Why an experiment has no row, and what to do.
ADVICE = {
    "failed": "`dvc queue logs NAME` tells why",
    "queued": "`dvc queue start` runs them",
    "running": "`dvc queue logs --follow NAME` shows how far it is",
    "without scores": "run the pipeline to its end",
    "scores are older than parameters or models": "run the pipeline to its end",
}
WIDTH = 100  # where the output is no terminal
GAP = 2  # between columns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    forms = parser.add_mutually_exclusive_group()
    for form, text in (("md", "Markdown"), ("csv", "CSV, with all digits")):
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form, help=text)
    arguments = parser.parse_args()
    if not git("rev-parse", "HEAD"):
        raise UserError("there is no commit, to which experiments belong; `git commit` makes one")
    points, others = sort_out(list_revisions())
    if points:
        rows = [make_row(alike) for alike in sorted(gather(points), key=merit)]
        print_rows(rows, arguments.form)
    for reason, names in others.items():
        named = printable(", ".join(names))
        print(f"table: {reason}: {named}; {ADVICE[reason]}", file=sys.stderr)
    if not points:
        raise UserError("there are no scores on this commit; `dvc repro` makes them")


def sort_out(revisions: list[dict]) -> tuple[list[dict], dict[str, list[str]]]:
    """Divide the workspace, the commit and its experiments into those with scores and others.

    Args:
        revisions: As `list_revisions` returns them.

    Returns:
        The points with scores, each with what it `changed` of the commit. Where settings and scores
        are the same, it is one point with all the names; the workspace is then not among them. And
        the names of the others, by a key of ADVICE.
    """
    workspace, commit = ({"revs": [r], "executor": None} | r for r in revisions)
    reference = settings(to_point(commit))
    points, others = {}, defaultdict(list)
    for experiment in (commit, *(commit["experiments"] or []), workspace):
        point = to_point(experiment)
        reason = find_trouble(point, state(experiment))
        key = json.dumps([settings(point), point["metrics"]], sort_keys=True)
        if reason:
            others[reason].append(point["name"])
        elif key not in points:
            changed = {n: v for n, v in settings(point).items() if reference.get(n, v) != v}
            points[key] = point | {"changed": changed}
        elif experiment is not workspace:
            points[key]["name"] += f" {point['name']}"
    return list(points.values()), others


def settings(point: dict) -> dict:
    """Return all that determines the result of a point."""
    return point["params"] | point["inputs"]


def find_trouble(point: dict, state: str) -> str | None:
    """Return why a point has no row, as a key of ADVICE; None if it has one.

    Args:
        point: As `to_point` returns it.
        state: queued, running, success or failed.
    """
    if state != "success":
        return state
    if any(score(point, column) is None for column in ("validation accuracy", "test accuracy")):
        return "without scores"
    outdated = is_outdated(point["revision"])
    return "scores are older than parameters or models" if outdated else None


def score(point: dict, column: str) -> float | None:
    """Return a score of a point; None if it lacks it."""
    path, key, _ = SCORES[column]
    return point["metrics"].get(path, {}).get(key)


def gather(points: list[dict]) -> list[list[dict]]:
    """Gather points that differ only in `seed`, and sort each group by it."""
    groups = defaultdict(list)
    for point in sorted(points, key=lambda point: point["params"]["seed"]):
        groups[json.dumps(settings(point) | {"seed": None}, sort_keys=True)].append(point)
    return list(groups.values())


def merit(points: list[dict]) -> tuple[float, float]:
    """Return a key that sorts the best first, by validation accuracy, then loss.

    A choice by the test images would flatter.
    """
    scores = [point["metrics"][FINE_TUNE] for point in points]
    return -mean(s["val_accuracy"] for s in scores), mean(s["val_loss"] for s in scores)


def make_row(points: list[dict]) -> dict:
    """Return a row of the table, by the names of its columns; None where there is no number.

    Args:
        points: They differ only in `seed`.
    """
    first, single = points[0], len(points) == 1
    changed = [describe(first, *c) for c in first["changed"].items() if c[0] != "seed" or single]
    row = {"experiment": printable(" ".join(point["name"] for point in points))}
    row |= {"changed": " ".join(changed), "seeds": len(points)}
    for column in SCORES:
        values = [score(point, column) for point in points]
        known = None not in values
        row[column] = round(mean(values), 5) if known else None
        row[f"{column} ±"] = round(stdev(values), 5) if known and not single else None
    for end in ("low", "high"):
        row[end] = first["metrics"][EVALUATE].get(f"accuracy_{end}") if single else None
    seconds = [int(p["seconds"]) for p in points if p["seconds"].isdigit()]
    return row | {"seconds": round(mean(seconds)) if seconds else None}


def describe(point: dict, name: str, value: object) -> str:
    """Say what a point changed: a parameter, as `-S` has it, or something else."""
    if name not in point["params"]:
        return f"other {printable(name)}"
    return printable(f"{name}={value if isinstance(value, str) else json.dumps(value)}")


def print_rows(rows: list[dict], form: str | None) -> None:
    """Print rows that `make_row` returned.

    Args:
        rows: At least one.
        form: md; csv, with all digits; or None, for a terminal.
    """
    if form == "csv":
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    elif form == "md":
        print(to_markdown(*to_cells(rows)), end="")
    else:
        print_aligned(*to_cells(rows))


def to_cells(rows: list[dict]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the cells for people, without columns in which no row has anything."""
    texts = [to_text(row) for row in rows]
    columns = [column for column in texts[0] if any(text[column] for text in texts)]
    return columns, [[text[column] for column in columns] for text in texts]


def to_text(row: dict) -> dict[str, str]:
    """Format a row for people: the interval, or the deviation, is in the column of its score."""
    seeds = f"({row['seeds']} seeds)" if row["seeds"] > 1 else ""
    cells = {"experiment": row["experiment"], "changed": f"{row['changed']} {seeds}".strip()}
    for column, (_, _, digits) in SCORES.items():
        value, deviation = row[column], row[f"{column} ±"]
        cells[column] = "" if value is None else f"{value:.{digits}f}"
        if deviation is not None:
            cells[column] += f"\n± {deviation:.{digits}f}"
    if row["low"] is not None:
        cells["test accuracy"] += f" ({row['low']:.3f}–{row['high']:.3f})"
    return cells | {"seconds": "" if row["seconds"] is None else str(row["seconds"])}


def to_markdown(header: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Format a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def print_aligned(header: Sequence[str], rows: Iterable[Iterable[str]]) -> None:
    """Print rows in columns; the first two are folded where the terminal is too narrow."""
    rows = [list(row) for row in rows]
    console = Console(
        width=None if sys.stdout.isatty() else WIDTH, markup=False, highlight=False, emoji=False
    )
    names = [column.replace(" ", "\n") for column in header]
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(names):
        table.add_column(name, no_wrap=number > 1, overflow="fold")
    parts = {  # that are never broken: the names of experiments, the lines of other columns
        n: [part for row in (names, *rows) for part in row[n].split(None if n == 0 else "\n")]
        for n, column in enumerate(header)
        if column != "changed"
    }
    room = console.width - sum(GAP + max(map(cell_len, column)) for column in parts.values())
    for row in rows:
        cells = zip(header, row, strict=True)
        table.add_row(*(fold(cell, room) if name == "changed" else cell for name, cell in cells))
    console.print(table)


def fold(text: str, width: int) -> str:
    """Let a change that is longer than a line be broken before its value, and not within it."""
    return re.sub(r"\S+", lambda m: m[0].replace("=", "= ", len(m[0]) > width), text)


if __name__ == "__main__":
    run_main(main)
