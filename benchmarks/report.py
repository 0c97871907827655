"""Write RESULTS.md and comparison.png from what results.json holds."""

import platform
import statistics

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from benchmarks.common import RESULTS
from transfer.reporting.figures import COLORS, REFERENCE, save, styled

PHASES = {"head": "head", "fine_tune": "fine-tuning"}
PICTURES = {"train": 2000, "validation": 800}


def write(results: dict) -> None:
    """Write all that the results so far allow."""
    parts = ["# Results", machine()]
    if "comparison" in results:
        parts += [comparison(results), "![Seconds of an epoch](comparison.png)"]
        save(draw(results["comparison"]["runs"]), RESULTS.with_name("comparison.png"))
    if "tricks" in results:
        parts.append(tricks(results))
    if "sweep" in results:
        parts.append(sweep(results["sweep"]))
    if "strategies" in results:
        parts.append(strategies(results["strategies"]))
    if "scaling" in results:
        parts += [scaling(results["scaling"]), "![Time and memory](scaling.png)"]
        save(draw_scaling(results["scaling"]), RESULTS.with_name("scaling.png"))
    if "backbones" in results:
        parts.append(backbones(results["backbones"]))
    text = "\n\n".join(parts) + "\n"
    RESULTS.with_name("RESULTS.md").write_text(text)
    print(f"{text}\nbench: {RESULTS.name}, RESULTS.md and its pictures are in {RESULTS.parent}")


def machine() -> str:
    with open("/proc/cpuinfo") as file:
        info = dict(line.split(":", 1) for line in file if ":" in line)
    facts = {name.strip(): value.strip() for name, value in info.items()}
    wide = "AVX-512" if "avx512f" in facts.get("flags", "") else "no AVX-512"
    return (
        f"`make bench`, on {facts['model name']} ({facts.get('cpu cores')} cores, {wide}), "
        f"Python {platform.python_version()}. Times are wall-clock; what a person has to wait for."
    )


def table(header: list, rows: list[list]) -> str:
    """Format a Markdown table, numbers to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def comparison(results: dict) -> str:
    """Compare the tutorial's script with our stages."""
    of = results["comparison"]
    runs = {name: rows for name, rows in of["runs"].items() if rows}
    default, switched = ("on", "off") if of["onednn_by_default"] else ("off", "on")
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
            f"## {of['epochs']} + {of['epochs']} epochs, {len(runs['ours'])} seeds, in turn",
            table(header, rows),
            "How many times faster than the script, median over the seeds:",
            table(["", "times"], [[k, f"{v:.2f}"] for k, v in ratios.items() if v]),
            accuracies(results),
        ]
    )


def column(runs: list[dict]) -> dict[str, str]:
    """Return what the comparison says of one side, by its label."""
    cells = {"whole training, s": spread([run["seconds"] for run in runs])}
    for phase, label in PHASES.items():
        for part, pictures in PICTURES.items():
            each = [1000 * s / pictures for run in runs for s in run[phase][part]]
            kind = "training" if part == "train" else "validation"
            cells[f"{label}: {kind}, ms a picture, median epoch"] = f"{statistics.median(each):.2f}"
    cells["peak memory, MB"] = f"{max(run['memory'] for run in runs):.0f}"
    for stage, label in (("split", "split"), ("evaluate", "evaluate"), ("plot", "plot")):
        seconds = [run["stages"][stage] for run in runs if "stages" in run]
        cells[f"stage {label}, s"] = f"{statistics.median(seconds):.1f}" if seconds else ""
    return cells


def spread(values: list[float]) -> str:
    """Format a median, with the smallest and the largest where there are several."""
    middle = f"{statistics.median(values):.0f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.0f} to {max(values):.0f})"


def accuracies(results: dict) -> str:
    rows = []
    for side in ("ours", "tutorial"):
        scores = results[f"accuracy_{side}"].values()
        rows.append([side, *(f"{s['mean']:.4f} ± {s['plus_minus']:.4f}" for s in scores)])
    text = "Accuracy, mean over the seeds and its 95 % interval (Student's t):"
    return f"{text}\n\n{table(['', '800 validation pictures', '200 test pictures'], rows)}"


def tricks(results: dict) -> str:
    """Say what each trick does alone."""
    on, off, given = (results["tricks"][name] for name in ("onednn", "no_onednn", "input"))
    rows = [[name, f"{ms:.2f}", f"{off['ms'][name]:.2f}"] for name, ms in on["ms"].items()]
    rows.append(["floor: its operations at a matrix product's rate", f"{on['floor']:.2f}", ""])
    return "\n\n".join(
        [
            "## Each trick alone",
            "The frozen base on all cores, ms a picture:",
            table(["", "oneDNN on", "oneDNN off"], rows),
            f"A matrix product does {on['gflops']:.0f} GFLOP/s; the forward pass used reaches "
            f"{results['forward_fraction_of_peak']:.0%} of that.",
            "Pixels, ms a picture:",
            table(["", "ms"], [[name, f"{ms:.3f}"] for name, ms in given.items()]),
        ]
    )


def sweep(of: dict) -> str:
    """Say what a sweep on stored views costs."""
    first, *others = of["sweep_seconds"]
    rows = [
        [views, f"{s['head_validation']:.4f}", f"{s['validation']:.4f}", f"{s['test']:.3f}",
         f"{s['loss']:.4f}", f"{s['seconds']:.0f}"]
        for views, s in of["accuracy_by_views"].items()
    ]  # fmt: skip
    return "\n\n".join(
        [
            "## Sweeps on stored views",
            f"{len(of['learning_rates'])} learning rates of the head, each by `dvc exp run`: "
            f"{sum(of['sweep_seconds']):.0f} s; the first, which stores the features, {first:.0f}, "
            f"the others {statistics.median(others):.0f} s. That is "
            f"**{of['sweep_in_whole_runs']:.2f}** of one `dvc repro` "
            f"({of['whole_run_seconds']:.0f} s).",
            "The whole pipeline, fine-tuned from block_13_expand, by views (0: a new one in every "
            "epoch):",
            table(
                ["views", "head, validation", "fine-tuned, validation", "test", "validation loss",
                 "seconds"],
                rows,
            ),
        ]
    )  # fmt: skip


def strategies(of: dict) -> str:
    """Say what it costs to share each batch out."""
    phases = list(of["one"])
    rows = [[name, *(f"{rates[phase]:.0f}" for phase in phases)] for name, rates in of.items()]
    return "\n\n".join(
        [
            "## Several devices, several processes",
            "Training pictures a second, of the same two cores: what sharing the work out costs "
            "there, and no gain, for which it takes more GPUs or machines.",
            table(["", *phases], rows),
        ]
    )


def backbones(of: dict) -> str:
    """Say which backbones went through pipeline and export, and how large they are."""
    rows = [
        [name, b["weights"], b["layers"], f"{b['parameters']:,}", f"{b['trainable']:,}",
         f"{b['memory']:.0f}", b["export"]]
        for name, b in of.items()
    ]  # fmt: skip
    return "\n\n".join(
        [
            "## Backbones tried",
            "The whole pipeline on the sample (600 pictures at 72 x 72, one epoch of each phase, "
            "fine-tuned from the middle layer), then `make export`: how far a float format's "
            "probability was from Keras' at most. Random weights show that it works, not how good "
            "it is.",
            table(
                ["backbone", "weights", "layers", "parameters", "trained in fine-tuning",
                 "peak MB", "export"],
                rows,
            ),
        ]
    )  # fmt: skip


@styled
def draw(runs: dict[str, list[dict]]) -> Figure:
    """Plot the seconds that have gone by after each epoch, of every run."""
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
            gone = [sum(seconds[: i + 1]) for i in range(len(seconds))]
            axes.plot(range(1, len(gone) + 1), gone, "o-", ms=3, color=color,
                      label=None if number else label)  # fmt: skip
    axes.set(xlabel="epoch", ylabel="seconds of training and validation", ylim=(0, None))
    axes.set_title("Training head, then fine-tuning")
    axes.legend()
    return figure


def scaling(runs: dict[str, dict]) -> str:
    """Say what each stage costs as pictures grow more: time, memory, and DVC's work around it."""
    sizes = sorted(map(int, runs))
    first, last = sizes[0], sizes[-1]
    stages = list(runs[str(first)])
    columns = [f"{size:,}" for size in sizes]
    more = [f"more, {a:,} to {b:,}" for a, b in zip(sizes, sizes[1:], strict=False)]

    def times(key: str) -> str:
        rows = []
        for stage in stages:
            seconds = [runs[str(size)][stage][key] for size in sizes]
            each = [1000 * s / n for s, n in zip(seconds, sizes, strict=True)]
            steps = 1000 * np.diff(seconds) / np.diff(sizes)
            rows.append([stage, *(f"{ms:.3f}" for ms in (*each, *steps))])
        return table(["ms a picture", *columns, *more], rows)

    def peaks(key: str) -> str:
        rows = []
        for stage in stages:
            peak = [runs[str(size)][stage][key] for size in sizes]
            rows.append([stage, *(f"{mb:.0f}" for mb in peak), f"{peak[-1] / peak[0]:.2f}"])
        return table(["peak MB", *columns, "times"], rows)

    epochs = [
        [f"{stage}, {kind}", *(
            f"{1000 * runs[str(size)][stage][key] / (share * size):.3f}" for size in sizes
        )]
        for stage in stages if "epoch" in runs[str(first)][stage]
        for kind, key, share in (("training", "epoch", 0.6), ("validation", "validation", 0.2))
    ]  # fmt: skip
    return "\n\n".join(
        [
            f"## From {first:,} to {last:,} pictures",
            "`python -m benchmarks.scaling`: drawn pictures of 96×96, two classes, at 32×32, "
            "random weights, one epoch of each phase, from layer 143, `features` with one view. "
            "A stage's own seconds over all the pictures, its start included, which is most of it "
            "where pictures are few; and what each picture more takes:",
            times("seconds"),
            "The processor's seconds, which other work on the machine does not change:",
            times("cpu"),
            "One epoch, over the pictures of its split; the first batches take longer:",
            table(["ms a picture", *columns], epochs),
            "What DVC takes around the stage, to start, hash and cache:",
            times("dvc_seconds"),
            "Memory of the stage, and of DVC:",
            peaks("peak"),
            peaks("dvc_peak"),
        ]
    )


@styled
def draw_scaling(runs: dict[str, dict]) -> Figure:
    """Plot time a picture and peak memory of each stage against the number of pictures."""
    sizes = sorted(map(int, runs))
    figure = Figure(figsize=(11, 4.6))
    left, right = figure.subplots(1, 2)
    for number, stage in enumerate(runs[str(sizes[0])]):
        taken = [runs[str(size)][stage] for size in sizes]
        each = [1000 * run["seconds"] / size for run, size in zip(taken, sizes, strict=True)]
        style = {"marker": "o", "ms": 4, "color": f"C{number}", "label": stage}
        left.plot(sizes, each, **style)
        right.plot(sizes, [run["peak"] for run in taken], **style)
    rows = [sum(run["dvc_seconds"] for run in runs[str(size)].values()) for size in sizes]
    each = [1000 * seconds / size for seconds, size in zip(rows, sizes, strict=True)]
    left.plot(sizes, each, label="DVC, around all", **REFERENCE)
    left.set(xscale="log", yscale="log", ylabel="ms a picture, start included")
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter("{x:g}")
    right.set(xscale="log", ylim=(0, None), ylabel="peak memory, MB")
    for axes in (left, right):
        axes.set(xlabel="pictures", xticks=sizes, xticklabels=[f"{size:,}" for size in sizes])
        axes.minorticks_off()
    figure.legend(*left.get_legend_handles_labels(), loc="outside right upper")
    return figure
