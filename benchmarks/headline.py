"""Draw the validation accuracy over the seconds of a training: the tutorial's script, our recipes.

All see the same images in the same splits and start from the same checkpoint. The seconds are those
of whole processes, with their start. Ours begin with the stage `split`, which decodes the images;
the script decodes them in every epoch.
"""

import json
import sys
from itertools import accumulate
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.common import BENCHMARKS, made_by, measure
from benchmarks.compare import link_splits
from scripts.project import PROJECT, set_params, temporary_copy
from transfer.core.files import HISTORY, HISTORY_HEAD, METRICS, read_csv, read_json
from transfer.reporting.style import COLORS, save, styled

RESULTS = BENCHMARKS / "headline.json"
FIGURE = PROJECT / "docs/headline.png"
LINES = {
    "the tutorial's script": COLORS["training"],
    "recipe tutorial": COLORS["validation"],
    "recipe robust": COLORS["fine-tuned"],
}
Curve = list[tuple[float, float]]  # seconds since the start, accuracy on the validation images


def main() -> None:
    with temporary_copy(None) as folder:
        measure([sys.executable, "-m", "stages.download"], folder)
        curves = {}
        for recipe in ("robust", "tutorial"):
            set_params(folder, recipe=recipe)
            curves[f"recipe {recipe}"] = run_stages(folder)
        link_splits(folder)
        curves["the tutorial's script"] = run_script(folder)
    RESULTS.write_text(json.dumps(made_by() | {"curves": curves}, indent=1) + "\n")
    save(draw(curves), FIGURE)


def run_stages(folder: Path) -> Curve:
    """Run split, train_head and fine_tune; return a point for each epoch and for the end."""
    seconds, _ = measure([sys.executable, "-m", "stages.split"], folder)
    points = []
    for stage, history in (("train_head", HISTORY_HEAD), ("fine_tune", HISTORY)):
        clock = folder / f"{stage}.json"
        clock.unlink(missing_ok=True)
        took, _ = measure([sys.executable, BENCHMARKS / "ours.py", stage, clock], folder)
        seconds += took
        if clock.exists():  # a solved head has no epochs
            run = read_json(clock)
            rows = read_csv(folder / history)[-len(run["train"]) :]
            points += along(run, [float(row["val_accuracy"]) for row in rows], seconds)
        metrics = read_json(folder / METRICS / f"{stage}.json")
        points.append((round(seconds, 1), metrics["val_accuracy"]))
    return points


def run_script(folder: Path) -> Curve:
    """Run the tutorial's script; return a point for each epoch."""
    result = folder / "tutorial.json"
    command = [sys.executable, BENCHMARKS / "tutorial.py", "splits", "models/base.weights.h5"]
    seconds, _ = measure([*command, result], folder)
    run = read_json(result)
    seconds -= run["test"]["seconds"]
    fine_tune = along(run["fine_tune"], run["fine_tune"]["val_accuracies"], seconds)
    start = fine_tune[0][0] - run["fine_tune"]["train"][0] - run["fine_tune"]["validation"][0]
    return along(run["head"], run["head"]["val_accuracies"], start) + fine_tune


def along(run: dict, accuracies: list[float], end: float) -> Curve:
    """Return a point for each epoch of a phase whose last one ends after `end` seconds."""
    epochs = [sum(pair) for pair in zip(run["train"], run["validation"], strict=True)]
    seconds = accumulate(epochs, initial=end - sum(epochs))
    next(seconds)
    return [(round(s, 1), round(a, 6)) for s, a in zip(seconds, accuracies, strict=True)]


@styled
def draw(curves: dict[str, Curve]) -> Figure:
    """Plot the curves; the legend has seconds and accuracy at the end of each."""
    figure = Figure(figsize=(9, 4.2))
    axes = figure.subplots()
    for name, color in LINES.items():
        x, y = zip(*curves[name], strict=True)
        head = f"{y[0]:.3f} after {x[0]:.0f} s, " * (name == "recipe robust")  # is solved by then
        label = f"{name}: {head}{y[-1]:.3f} after {x[-1]:.0f} s"
        axes.plot(x, y, "o-", ms=4, color=color, label=label)
    axes.set(xlabel="seconds", xlim=0)
    axes.set(ylabel="accuracy on the validation images", ylim=(0.9, 1))  # leaves first epochs out
    axes.legend(loc="lower right")
    return figure


if __name__ == "__main__":
    main()
