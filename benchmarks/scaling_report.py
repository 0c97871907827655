"""Report what each stage costs as the number of images grows: a section and a figure."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from benchmarks.common import table
from transfer.reporting.style import REFERENCE, styled

# Explanations of rows that are not stages of the pipeline.
NOTES = {
    "features": "`features` was a stage of its own when this was measured, and stored one view.",
    "train_head, views=1": "The last row stores one view first, then trains the head on it.",
}


def epochs(runs: dict[str, dict], sizes: list[int]) -> list[list[str]]:
    """Return a row for each stage that has epochs, and for training and validation."""
    return [
        [f"{stage}, {kind}", *(
            f"{1000 * runs[str(size)][stage][key] / (fraction * size):.3f}" for size in sizes
        )]
        for stage, first in runs[str(sizes[0])].items() if "epoch" in first
        for kind, key, fraction in (("training", "epoch", 0.6), ("validation", "validation", 0.2))
    ]  # fmt: skip


def scaling(runs: dict[str, dict]) -> str:
    """Describe time and memory of each stage, and of DVC around it, by the number of images."""
    sizes = sorted(map(int, runs))
    first, last = sizes[0], sizes[-1]
    stages = list(runs[str(first)])
    columns = [f"{size:,}" for size in sizes]
    further = [f"further, {a:,} to {b:,}" for a, b in zip(sizes, sizes[1:], strict=False)]

    def times(key: str) -> str:
        rows = []
        for stage in stages:
            seconds = [runs[str(size)][stage][key] for size in sizes]
            each = [1000 * s / n for s, n in zip(seconds, sizes, strict=True)]
            steps = 1000 * np.diff(seconds) / np.diff(sizes)
            rows.append([stage, *(f"{ms:.3f}" for ms in (*each, *steps))])
        return table(["ms per image", *columns, *further], rows)

    def peaks(key: str) -> str:
        rows = []
        for stage in stages:
            peak = [runs[str(size)][stage][key] for size in sizes]
            rows.append([stage, *(f"{mb:.0f}" for mb in peak), f"{peak[-1] / peak[0]:.2f}"])
        return table(["peak MB", *columns, "times"], rows)

    return "\n\n".join(
        [
            f"## From {first:,} to {last:,} images",
            "`python -m benchmarks.scaling`: drawn images of 96×96, two classes, resized to 32×32; "
            "random weights, one epoch of each phase, fine-tuned from layer 143."
            + "".join(f" {note}" for row, note in NOTES.items() if row in stages),
            "Seconds of a stage without DVC, divided by the number of images. They include its "
            "start, which is most of it if there are few images. The last columns show what each "
            "further image takes:",
            times("seconds"),
            "CPU seconds, which other work on the machine does not change:",
            times("cpu"),
            "One epoch, divided by the number of images in its split; the first batches take "
            "longer:",
            table(["ms per image", *columns], epochs(runs, sizes)),
            "Seconds that DVC adds around the stage, to start, hash and cache:",
            times("dvc_seconds"),
            "Memory of the stage:",
            peaks("peak"),
            "Memory of DVC:",
            peaks("dvc_peak"),
        ]
    )


@styled
def draw_scaling(runs: dict[str, dict]) -> Figure:
    """Plot time per image and peak memory of each stage against the number of images."""
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
    left.plot(sizes, each, label="DVC, around all stages", **REFERENCE)
    left.set(xscale="log", yscale="log", ylabel="ms per image, including the start")
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter("{x:g}")
    right.set(xscale="log", ylim=(0, None), ylabel="peak memory, MB")
    for axes in (left, right):
        axes.set(xlabel="images", xticks=sizes, xticklabels=[f"{size:,}" for size in sizes])
        axes.minorticks_off()
    figure.legend(*left.get_legend_handles_labels(), loc="outside right upper")
    return figure
