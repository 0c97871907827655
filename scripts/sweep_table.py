"""The table and the figure of a sweep, from the points that scripts/sweep.py ran."""

from collections.abc import Iterable

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from scripts.experiments import EVALUATE, FINE_TUNE
from transfer.reporting.style import styled

# Columns of the table: the metrics file, and the key in it.
COLUMNS = {
    "validation accuracy": (FINE_TUNE, "val_accuracy"),
    "validation loss": (FINE_TUNE, "val_loss"),
    "test accuracy": (EVALUATE, "accuracy"),
    "low": (EVALUATE, "accuracy_low"),
    "high": (EVALUATE, "accuracy_high"),
    "trainable parameters": (FINE_TUNE, "trainable_parameters"),
}
SHIFT = 0.12  # between lines, so that no interval hides another


def find_swept(points: list[dict]) -> list[str]:
    """Return the names of the parameters that differ, the one with most values first."""
    values = {name: {str(p["params"].get(name)) for p in points} for name in points[0]["params"]}
    return sorted((n for n in values if len(values[n]) > 1), key=lambda n: -len(values[n]))


def make_row(point: dict, swept: list[str]) -> dict:
    """Return a row of the table, by the names of its columns.

    Args:
        point: Its name, params, metrics and seconds.
        swept: Names of the parameters that have a column.
    """
    metrics = {column: point["metrics"][path][key] for column, (path, key) in COLUMNS.items()}
    return (
        {"experiment": point["name"]}
        | {name: point["params"][name] for name in swept}
        | metrics
        | {"seconds": point["seconds"]}
    )


def to_text(table: list[dict]) -> tuple[list[str], list[list[str]]]:
    """Format the table for people, with the interval in the column of the test accuracy.

    Returns:
        The header and the rows.
    """
    rows = []
    for row in table:
        cells = {name: str(value) for name, value in row.items() if name not in ("low", "high")}
        cells["validation accuracy"] = f"{row['validation accuracy']:.4f}"
        cells["validation loss"] = f"{row['validation loss']:.4f}"
        cells["test accuracy"] = with_interval(row)
        cells["trainable parameters"] = f"{row['trainable parameters']:,}"
        rows.append(cells)
    return list(rows[0]), [list(cells.values()) for cells in rows]


def with_interval(row: dict) -> str:
    """Return the test accuracy of a row with its 95 % interval."""
    return "{test accuracy:.3f} ({low:.3f} to {high:.3f})".format_map(row)


def sort_values(values: Iterable) -> list:
    """Sort values of a parameter, or tuples of them; numbers come before names of layers."""

    def key(value: object) -> list[tuple]:
        parts = value if isinstance(value, tuple) else (value,)
        return [(0, p) if isinstance(p, int | float) else (1, str(p)) for p in parts]

    return sorted(values, key=key)


@styled
def draw(table: list[dict], swept: list[str]) -> Figure:
    """Plot accuracy over the first swept parameter, with a line for each value of the others.

    Left is the validation accuracy, by which the points are ranked; right is the test accuracy with
    Wilson's 95 % interval.

    Args:
        table: Rows that `make_row` returned.
        swept: Names of the swept parameters.
    """
    along, *others = swept or ["experiment"]
    values = sort_values({row[along] for row in table})
    lines = {}
    for row in sorted(table, key=lambda row: values.index(row[along])):
        lines.setdefault(tuple(row[name] for name in others), []).append(row)
    colors = colormaps["viridis"](np.linspace(0, 0.85, len(lines)))
    figure = Figure(figsize=(11, 4.6))
    left, right = figure.subplots(1, 2)
    for number, (key, color) in enumerate(zip(sort_values(lines), colors, strict=True)):
        x = np.array([values.index(row[along]) for row in lines[key]])
        left.plot(x, [row["validation accuracy"] for row in lines[key]], "o-", color=color)
        accuracy, low, high = np.array(
            [(row["test accuracy"], row["low"], row["high"]) for row in lines[key]]
        ).T
        right.errorbar(
            x + (number - (len(lines) - 1) / 2) * SHIFT,
            accuracy,
            (accuracy - low, high - accuracy),
            fmt="o",
            capsize=3,
            color=color,
            label=", ".join(f"{name} {value}" for name, value in zip(others, key, strict=True)),
        )
    left.set(title="Validation images", xlabel=along, ylabel="accuracy")
    right.set(title="Test images, with the 95 % interval", xlabel=along)
    for axes in (left, right):
        axes.set_xticks(range(len(values)), values)
    if others:
        figure.legend(loc="outside lower center", ncols=min(len(lines), 3))
    return figure
