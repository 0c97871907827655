"""Write RESULTS.md and its figures from results.json: python -m benchmarks.report."""

import statistics

from matplotlib.figure import Figure

from benchmarks.common import RESULTS, read_results, table
from benchmarks.scaling_report import draw_scaling, scaling
from transfer.reporting.style import COLORS, save, styled

MODULES = {  # of the parts of results.json
    "comparison": "compare",
    "peer": "peer",
    "tricks": "tricks",
    "sweep": "sweeps",
    "strategies": "strategies",
    "scaling": "scaling",
    "growing": "growing",
    "backbones": "backbones",
}
PHASES = {"head": "head", "fine_tune": "fine-tuning"}
IMAGES = {"train": 2000, "validation": 800}


def write(results: dict) -> None:
    """Write a section for each benchmark that has results."""
    parts = ["# Results", "Measured by `make bench`. Times are wall-clock times.", where(results)]
    if "comparison" in results:
        parts += [comparison(results), "![Seconds of an epoch](comparison.png)"]
        save(draw(results["comparison"]["runs"]), RESULTS.with_name("comparison.png"))
    if "peer" in results:
        parts.append(peer(results["peer"]))
    if "tricks" in results:
        parts.append(tricks(results))
    if "sweep" in results:
        parts.append(sweep(results["sweep"]))
    if "strategies" in results:
        parts.append(strategies(results["strategies"]))
    if "scaling" in results:
        parts += [scaling(results["scaling"]), "![Time and memory](scaling.png)"]
        save(draw_scaling(results["scaling"]), RESULTS.with_name("scaling.png"))
    if "growing" in results:
        parts.append(growing(results["growing"]))
    if "backbones" in results:
        parts.append(backbones(results["backbones"]))
    text = "\n\n".join(parts) + "\n"
    RESULTS.with_name("RESULTS.md").write_text(text)
    print(f"{text}\nbench: {RESULTS.name}, RESULTS.md and its figures are in {RESULTS.parent}")


def where(results: dict) -> str:
    """Say on which machine each benchmark of RESULTS.md ran."""
    rows = [
        [f"`python -m benchmarks.{module}`", results["machines"][part]]
        for part, module in MODULES.items()
        if part in results
    ]
    return table(["command", "machine"], rows)


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
        for part, image_count in IMAGES.items():
            each = [1000 * s / image_count for run in runs for s in run[phase][part]]
            kind = "training" if part == "train" else "validation"
            cells[f"{label}: {kind}, ms per image, median epoch"] = f"{statistics.median(each):.2f}"
    cells["peak memory, MB"] = f"{max(run['memory'] for run in runs):.0f}"
    for stage, label in (("split", "split"), ("evaluate", "evaluate"), ("plot", "plot")):
        seconds = [run["stages"][stage] for run in runs if "stages" in run]
        cells[f"stage {label}, s"] = f"{statistics.median(seconds):.1f}" if seconds else ""
    return cells


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


def growing(measured: dict) -> str:
    """Describe what it costs to add images to a large set."""
    rows = []
    for title, row in (("first run", measured["all"]), ("with more images", measured["added"])):
        seconds = [row["seconds"][part] for part in ("download", "split", "push")]
        sent = f"{row['sent'] / 1e6:,.0f} ({row['sent'] / row['bytes']:.1%})"
        rows.append([title, f"{row['images']:,}", f"{row['decoded']:,}", *seconds, sent])
    header = ["", "images", "decoded", "download, s", "split, s", "push, s", "MB sent"]
    return "\n\n".join(
        [
            "## A set that grows",
            "`dvc repro download`, `dvc repro split` and `dvc push data/raw data/split`, with "
            "`stable_splits: true`:",
            table(header, rows),
            f"Of the images of the first run, {measured['moved']} are in another split afterwards.",
        ]
    )


def tricks(results: dict) -> str:
    """Describe what each trick does alone."""
    on, off, pixels = (results["tricks"][name] for name in ("onednn", "no_onednn", "input"))
    rows = [[name, f"{ms:.2f}", f"{off['ms'][name]:.2f}"] for name, ms in on["ms"].items()]
    rows.append(["floor: its operations at the rate of a matrix product", f"{on['floor']:.2f}", ""])
    return "\n\n".join(
        [
            "## Each trick alone",
            "The frozen base on all cores, ms per image:",
            table(["", "oneDNN on", "oneDNN off"], rows),
            f"A matrix product does {on['gflops']:.0f} GFLOP/s; the forward pass that is "
            f"used reaches {results['forward_fraction_of_peak']:.0%} of that.",
            "Pixels, ms per image:",
            table(["", "ms"], [[name, f"{ms:.3f}"] for name, ms in pixels.items()]),
        ]
    )


def sweep(measured: dict) -> str:
    """Describe what a sweep on stored views costs."""
    seconds = measured["sweep_seconds"]
    first, *others = seconds
    rows = [
        [views, f"{s['head_validation']:.4f}", f"{s['validation']:.4f}", f"{s['test']:.3f}",
         f"{s['loss']:.4f}", f"{s['seconds']:.0f}"]
        for views, s in measured["accuracy_by_views"].items()
    ]  # fmt: skip
    return "\n\n".join(
        [
            "## Sweeps on stored views",
            f"{len(seconds)} learning rates of the head, each with `dvc exp run`, took "
            f"{sum(seconds):.0f} s: the first, which also stores the features, {first:.0f} s, each "
            f"other one {statistics.median(others):.0f} s. That is "
            f"**{measured['sweep_in_whole_runs']:.2f}** times one `dvc repro` "
            f"({measured['whole_run_seconds']:.0f} s).",
            "The whole pipeline, fine-tuned from block_13_expand, by number of views (0: a new "
            "view in every epoch):",
            table(
                ["views", "head, validation", "fine-tuned, validation", "test", "validation loss",
                 "seconds"],
                rows,
            ),
        ]
    )  # fmt: skip


def strategies(measured: dict) -> str:
    """Describe what it costs to distribute each batch."""
    phases = list(measured["one"])
    rows = [
        [name, *(f"{rates[phase]:.0f}" for phase in phases)] for name, rates in measured.items()
    ]
    return "\n\n".join(
        [
            "## Several devices, several processes",
            "Training images per second on the same two cores. This shows what distributing costs; "
            "a gain needs more GPUs or machines.",
            table(["", *phases], rows),
        ]
    )


def backbones(measured: dict) -> str:
    """Describe the backbones that went through pipeline and export, and their sizes."""
    rows = [
        [name, b["weights"], b["layers"], f"{b['parameters']:,}", f"{b['trainable']:,}",
         f"{b['memory']:.0f}", b["export"]]
        for name, b in measured.items()
    ]  # fmt: skip
    return "\n\n".join(
        [
            "## Backbones tried",
            "The whole pipeline on the sample (600 images of 72×72, one epoch of each phase, "
            "fine-tuned from the middle layer), then `make export`, with the largest difference "
            "between the probabilities of a float format and those of Keras. Random weights show "
            "that a backbone works, not how good it is.",
            table(
                ["backbone", "weights", "layers", "parameters", "trained in fine-tuning",
                 "peak MB", "export"],
                rows,
            ),
        ]
    )  # fmt: skip


@styled
def draw(runs: dict[str, list[dict]]) -> Figure:
    """Plot the seconds that have passed after each epoch of every run."""
    figure = Figure(figsize=(9, 4.6))
    axes = figure.subplots()
    looks = {
        "ours": ("ours", COLORS["fine-tuned"]),
        "tutorial": ("tutorial's script", COLORS["training"]),
        "tutorial_switched": ("tutorial's script, oneDNN switched", COLORS["head"]),
    }
    for name, rows in runs.items():
        label, color = looks[name]
        for number, run in enumerate(rows):
            seconds = [sum(pair) for phase in PHASES for pair in zip(
                run[phase]["train"], run[phase]["validation"], strict=True)]  # fmt: skip
            passed = [sum(seconds[: i + 1]) for i in range(len(seconds))]
            axes.plot(range(1, len(passed) + 1), passed, "o-", ms=3, color=color,
                      label=None if number else label)  # fmt: skip
    axes.set(xlabel="epoch", ylabel="seconds of training and validation", ylim=(0, None))
    axes.set_title("Training head, then fine-tuning")
    axes.legend()
    return figure


if __name__ == "__main__":
    write(read_results())
