"""Tables and the figure of our training beside that of others, for benchmarks.report."""

import re
import statistics

from matplotlib.figure import Figure

from benchmarks.common import table
from transfer.reporting.style import COLORS, styled

PHASES = {"head": "head", "fine_tune": "fine-tuning"}
IMAGES = {"train": 2000, "validation": 800}


def comparison(results: dict) -> str:
    """Describe how the tutorial's script and our stages compare."""
    measured = results["comparison"]
    epochs = measured["epochs"]
    runs = {name: rows for name, rows in measured["runs"].items() if rows}
    default, switched = ("on", "off") if measured["onednn_by_default"] else ("off", "on")
    names = {
        "ours": "ours",
        "tutorial": f"tutorial's script (oneDNN {default}, the default here)",
        "tutorial_switched": f"tutorial's script, oneDNN {switched}",
    }
    header = ["", *(names[name] for name in runs)]
    columns = [column(rows) for rows in runs.values()]
    rows = [[label, *(col[label] for col in columns)] for label in columns[0]]
    ratios = {
        "whole training": results["speedup_total"],
        "head": results["speedup_head"],
        "fine-tuning": results["speedup_fine_tune"],
        "whole training, oneDNN on in the script": results["speedup_total_onednn"],
        "whole training, oneDNN off in the script": results["speedup_total_without_onednn"],
    }
    return "\n\n".join(
        [
            f"## {epochs} + {epochs} epochs, {len(runs['ours'])} seeds, in turn",
            table(header, rows),
            "Our speed as a multiple of the script's, median over the seeds:",
            table(["", "times"], [[k, f"{v:.2f}"] for k, v in ratios.items() if v]),
            accuracies(results),
        ]
    )


def column(runs: list[dict]) -> dict[str, str]:
    """Return the cells of one side's column in the comparison, by label."""
    cells = {"whole training, s": spread([run["seconds"] for run in runs])}
    for phase, label in PHASES.items():
        for part in IMAGES:
            kind = "training" if part == "train" else "validation"
            ms = f"{median_ms(runs, phase, part):.2f}"
            cells[f"{label}: {kind}, ms per image, median epoch"] = ms
    cells["peak memory, MB"] = f"{max(run['memory'] for run in runs):.0f}"
    for stage, label in (("split", "split"), ("evaluate", "evaluate"), ("plot", "plot")):
        seconds = [run["stages"][stage] for run in runs if "stages" in run]
        cells[f"stage {label}, s"] = f"{statistics.median(seconds):.1f}" if seconds else ""
    return cells


def median_ms(runs: list[dict], phase: str, part: str) -> float:
    """Return the milliseconds per image of the median epoch."""
    return 1000 * statistics.median(s for run in runs for s in run[phase][part]) / IMAGES[part]


def spread(values: list[float]) -> str:
    """Format a median; of several values, also the smallest and the largest."""
    middle = f"{statistics.median(values):.0f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.0f} to {max(values):.0f})"


def accuracies(results: dict) -> str:
    rows = []
    for side in ("ours", "tutorial"):
        scores = results[f"accuracy_{side}"].values()
        rows.append([side, *(f"{s['mean']:.4f} ± {s['plus_minus']:.4f}" for s in scores)])
    text = "Accuracy: the mean over the seeds, and its 95 % interval (Student's t):"
    return f"{text}\n\n{table(['', '800 validation images', '200 test images'], rows)}"


def peer(measured: dict) -> str:
    """Describe how PyTorch and our training compare, and how far ours is from the floor."""
    rows = []
    for size, sides in measured.items():
        ours, other = sides["ours"], sides["pytorch"]
        for phase, label in PHASES.items():
            floor = ours[f"floor_{phase}"]
            values = (ours[phase], other[phase], other[phase] / ours[phase], floor)
            cells = [f"{value:.2f}" for value in (*values, ours[phase] / floor)]
            rows.append([f"{label}, {size} pixels", *cells])
    version = next(iter(measured.values()))["torch"]
    header = ["ms per image", "ours", f"PyTorch {version}", "ratio", "floor", "ours / floor"]
    return "\n\n".join(
        [
            "## PyTorch, and the floor",
            "Training with pixels in memory and a flip, fine-tuning from layer 98. The floor: one "
            "forward pass of the frozen layers and three times that of the layers that train, at "
            "the rate of a matrix product.",
            table(header, rows),
        ]
    )


def milliseconds(results: dict) -> dict[str, list[float]]:
    """Return the ms per image of training the head and of fine-tuning, of each side that ran."""
    measured = results.get("comparison", {"runs": {}, "onednn_by_default": None})
    default, switched = ("on", "off") if measured["onednn_by_default"] else ("off", "on")
    names = {
        "tutorial_switched": f"tutorial's script, oneDNN {switched}",
        "tutorial": f"tutorial's script, oneDNN {default}",
        "ours": "ours",
    }
    sides = {
        name: [median_ms(runs, phase, "train") for phase in PHASES]
        for side, name in names.items()
        if (runs := measured["runs"].get(side))
    }
    if "peer" in results:
        rows = results["peer"]["160"]
        for name, side, key in (
            (f"PyTorch {rows['torch']}, pixels in memory", "pytorch", "{}"),
            ("ours, pixels in memory", "ours", "{}"),
            ("floor: its operations, as matrix products", "ours", "floor_{}"),
        ):
            sides[name] = [rows[side][key.format(phase)] for phase in PHASES]
    return sides


@styled
def draw(sides: dict[str, list[float]]) -> Figure:
    """Plot a bar for each side, a panel for each phase."""
    figure = Figure(figsize=(9, 3))
    panels = figure.subplots(1, len(PHASES), sharey=True)
    by = {"ours": COLORS["fine-tuned"], "floor": "0.6"}
    colors = [by.get(re.split("[,:]", name)[0], COLORS["head"]) for name in sides]
    for index, (axes, label) in enumerate(zip(panels, PHASES.values(), strict=True)):
        bars = axes.barh(list(sides), [values[index] for values in sides.values()], color=colors)
        axes.bar_label(bars, fmt="%.1f", padding=3)
        axes.set(title=label, xlabel="ms per training image")
        axes.margins(x=0.15)
    panels[0].invert_yaxis()
    return figure
