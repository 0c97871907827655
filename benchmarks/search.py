"""Search for settings that are better than the recipe `robust`, on development images alone.

python -m benchmarks.search NAME=SOURCE … [--per-class 50] [--seeds 0]

SOURCES and --per-class are those of benchmarks.recipes with --development: models are trained on so
many images of each class, and compared on others; validation and test images of the set are not
looked at. What a setting leaves as it is, the decoded images and the head, is not made again. A run
that benchmarks/search.json has already is not repeated. docs/recipes.md has the
table and the picture.
"""

import argparse
import json
import random
import statistics

from matplotlib.figure import Figure

from benchmarks.common import BENCHMARKS, made_by, replace_between, table
from benchmarks.recipes import PAGE, STAGES, outcome, prepare, read, run_stages
from scripts.project import PROJECT, parse_change, set_params, temporary_copy
from transfer.reporting.style import REFERENCE, save, styled

RESULTS, PICTURE = BENCHMARKS / "search.json", PROJECT / "docs/search.png"
MARK, END = "<!-- python -m benchmarks.search writes from here -->\n", "<!-- to there -->\n"
CHOICES = {
    "image_size": (160, 192),
    "head_solver": ("adam",),
    "fine_tune_optimizer": ("rmsprop",),
    "fine_tune_learning_rate": (0.0001, 0.0003, 0.001, 0.002),
    "fine_tune_epochs": (6, 12, 50),
    "fine_tune_at": (54, 80, 116, 134),
    "fold_normalization": ("false",),
    "interpolate_weights": ("false",),
    "schedule": ("constant",),
    "warmup_epochs": (0, 3),
    "label_smoothing": (0.0, 0.2),
    "rotation": (0.05, 0.2),
    "random_resized_crop": (0.0, 0.5),
    "color_jitter": (0.2,),
    "random_erasing": (0.25,),
    "mixup": (0.2,),
    "weight_decay": (0.0001, 0.01),
    "dropout": (0.0, 0.5),
}
SINGLE = [(f"{name}={value}",) for name, values in CHOICES.items() for value in values]
COMBINED, TOGETHER = 8, 3  # so many settings, of so many values each
FIRST_STAGE = {"image_size": "split", "head_solver": "train_head"}  # that the value changes


def settings() -> list[tuple[str, ...]]:
    """Return the recipe, each value alone, and some values of different parameters together."""
    draw = random.Random(0)
    combined = [
        tuple(f"{n}={draw.choice(CHOICES[n])}" for n in draw.sample(list(CHOICES), TOGETHER))
        for _ in range(COMBINED)
    ]
    return [(), *SINGLE, *combined]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", metavar="NAME=SOURCE")
    parser.add_argument("--per-class", type=int, default=50)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for name, source in (text.split("=", 1) for text in arguments.sets):
            search(name, source, arguments.per_class, seed)


def search(name: str, source: str, per_class: int, seed: int) -> None:
    """Run the settings that are missing on a set, and write what each gives."""
    keys = {s: f"{name}, {per_class} a class/{', '.join(s)}/{seed}" for s in settings()}
    missing = [setting for setting in keys if keys[setting] not in read(RESULTS)["runs"]]
    if not missing:
        return
    with temporary_copy(None, data_url=source, seed=seed) as folder:
        prepare(folder, (per_class, True), seed)
        recipe = (folder / "params.yaml").read_text()
        done = {"image_size": ""}  # so that the first run makes everything
        for setting in missing:
            changes = dict(map(parse_change, setting))
            (folder / "params.yaml").write_text(recipe)
            set_params(folder, **changes)
            other = [stage for n, stage in FIRST_STAGE.items() if changes.get(n) != done.get(n)]
            first = min(map(STAGES.index, other), default=STAGES.index("fine_tune"))
            row, done = outcome(folder, run_stages(folder, STAGES[first:])), changes
            # Another search may have added some.
            runs = read(RESULTS)["runs"] | {keys[setting]: row | {"made_by": made_by()}}
            RESULTS.write_text(json.dumps({"runs": runs}, indent=1) + "\n")
            write_page(runs)


def write_page(runs: dict) -> None:
    """Replace table and picture of docs/recipes.md: by setting, the accuracy on each set."""
    found = {}
    for key, row in runs.items():
        name, setting, _ = key.split("/")
        found.setdefault(name, {}).setdefault(setting, []).append(row["accuracy"])
    means = {
        name: {setting: statistics.mean(scores) for setting, scores in of_set.items()}
        for name, of_set in sorted(found.items())
    }
    rows = []
    for setting in dict.fromkeys(setting for of_set in means.values() for setting in of_set):
        values = [
            f"{of_set[setting]:.3f}" if setting in of_set else "" for of_set in means.values()
        ]
        rows.append([f"`{setting}`" if setting else "the recipe", *values])
    replace_between(PAGE, MARK, END, table(["instead of the recipe", *means], rows))
    save(draw(means), PICTURE)


@styled
def draw(means: dict[str, dict[str, float]]) -> Figure:
    """Plot what each single value gains or loses against the recipe, in points of accuracy."""
    single = [
        setting for setting in map(", ".join, SINGLE) if any(setting in m for m in means.values())
    ]
    figure = Figure(figsize=(8, 1.2 + 0.2 * len(single)))
    axes = figure.subplots()
    for index, (name, of_set) in enumerate(means.items()):
        shown = [(100 * (of_set[s] - of_set[""]), s) for s in single if s in of_set]
        if shown:
            axes.plot(*zip(*shown, strict=True), "o", color=f"C{index}", label=name)
    axes.axvline(0, label="the recipe", **REFERENCE)
    axes.set(xlabel="points of accuracy more than the recipe")
    axes.invert_yaxis()
    figure.legend(loc="outside upper right", ncols=2)
    return figure


if __name__ == "__main__":
    main()
