"""Write RESULTS.md and its figures from results.json: python -m benchmarks.report."""

import statistics
from collections import Counter

from benchmarks.common import RESULTS, read_results, table
from benchmarks.compare_report import comparison, draw, milliseconds, peer
from benchmarks.scaling_report import draw_scaling, scaling
from transfer.reporting.style import save

MODULES = {  # of the parts of results.json
    "comparison": "compare",
    "peer": "peer",
    "operations": "operations",
    "tricks": "tricks",
    "sweep": "sweeps",
    "strategies": "strategies",
    "scaling": "scaling",
    "growing": "growing",
    "backbones": "backbones",
}
LEAST_MS = 0.05  # of both sides together, of an operation in the table


def write(results: dict) -> None:
    """Write a section for each benchmark that has results."""
    parts = [
        "# Results",
        "Measured by `make bench-all`. Times are wall-clock times.",
        where(results),
    ]
    if "comparison" in results:
        parts.append(comparison(results))
    if "peer" in results:
        parts.append(peer(results["peer"]))
    if sides := milliseconds(results):
        parts.append("![Milliseconds of training per image, of all sides](comparison.png)")
        save(draw(sides), RESULTS.with_name("comparison.png"))
    if "operations" in results:
        parts.append(operations(results["operations"]))
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
    """Say on which machine, and by which commit, each benchmark of RESULTS.md ran."""
    rows = [
        [f"`python -m benchmarks.{module}`", *results["made_by"][part].values()]
        for part, module in MODULES.items()
        if part in results
    ]
    return table(["command", "commit", "machine"], rows)


def operations(measured: dict) -> str:
    """Describe where a fine-tuning step spends its time."""
    kinds, steps = Counter(), measured["steps"]
    for side in steps.values():
        kinds.update(side["operations"])
    rows = [
        [kind, *(f"{side['operations'].get(kind, 0):.2f}" for side in steps.values())]
        for kind, both in kinds.most_common()
        if both > LEAST_MS
    ]
    rows.append(["the step, not traced", *(f"{side['step']:.2f}" for side in steps.values())])
    ratios = [f"{side['step'] / measured['floor']:.2f}" for side in steps.values()]
    rows.append([f"… as a multiple of its floor, {measured['floor']:.2f}", *ratios])
    return "\n\n".join(
        [
            "## A fine-tuning step by operation",
            "The live layers from 98 up, 160 pixels, ms per image. Operations overlap on the "
            "cores, so that their sum is more than the step.",
            table(["", *steps], rows),
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


if __name__ == "__main__":
    write(read_results())
