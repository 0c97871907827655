"""Compare the recipes on image sets of one's own, through the whole pipeline.

python -m benchmarks.recipes NAME=SOURCE … [--recipes …] [--backbones …] [--seeds …] [--per-class N]
                             [--set PARAMETER=VALUE …] [--development]

A SOURCE is a folder, an archive or a table, as `data_url` takes it, whose images are split already.
Its validation images become the test images, which choose nothing; an eighth of its training images
are the validation images instead. With a test split besides, all three stay. With --development, to
compare rules by, its validation images are left out, and the test images are an eighth of the
training images or, with --per-class, the others, at most 1,000 of them. A run that
benchmarks/recipes.json has already is not repeated.
"""

import argparse
import csv
import itertools
import json
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common import BENCHMARKS, made_by, measure, replace_between, table
from scripts.project import PROJECT, parse_change, set_params, temporary_copy
from transfer.data.labels import split_named

RESULTS = BENCHMARKS / "recipes.json"
PAGE = PROJECT / "docs/recipes.md"
MARK, END = "<!-- python -m benchmarks.recipes writes from here -->\n", "<!-- to here -->\n"
CALIBRATION_PAGE = PROJECT / "docs/predictions.md"
CALIBRATION = [
    f"{kind}{name}" for name in ("calibration_error", "loss") for kind in ("uncalibrated_", "")
]
STAGES = ("split", "train_head", "fine_tune", "evaluate")
VAL_FRACTION = TEST_FRACTION = 1 / 8  # of the training images
TESTED = 1_000  # at most, in development: one evaluation among many


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", metavar="NAME=SOURCE")
    parser.add_argument("--recipes", nargs="+", default=["tutorial", "robust"])
    parser.add_argument("--backbones", nargs="+", default=["MobileNetV2", "EfficientNetLite0"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--per-class", type=int, help="train on so many images of each class")
    parser.add_argument("--set", nargs="+", default=[], metavar="PARAMETER=VALUE")
    parser.add_argument("--development", action="store_true")
    arguments = parser.parse_args()
    own = dict(map(parse_change, arguments.set))
    sets = dict(text.split("=", 1) for text in arguments.sets)
    grid = itertools.product(arguments.seeds, sets, arguments.backbones, arguments.recipes)
    for seed, name, backbone, recipe in grid:
        label = f"{name}, {arguments.per_class} a class" if arguments.per_class else name
        label += ", development" if arguments.development else ""
        key = f"{label}/{backbone}/{', '.join([recipe, *arguments.set])}/{seed}"
        results = read()
        if key not in results["runs"]:
            params = {"recipe": recipe, "backbone": backbone, "seed": seed} | own
            images = arguments.per_class, arguments.development
            results["runs"][key] = run(sets[name], images, params) | {"made_by": made_by()}
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            write_page(results["runs"])


def read(path: Path = RESULTS) -> dict:
    """Return what a file of runs holds so far."""
    return json.loads(path.read_text()) if path.exists() else {"runs": {}}


def run(source: str, images: tuple[int | None, bool], params: dict) -> dict:
    """Run the pipeline; return what came of it."""
    with temporary_copy(None, data_url=source, **params) as folder:
        prepare(folder, images, params["seed"])
        return outcome(folder, run_stages(folder, STAGES))


def prepare(folder: Path, images: tuple[int | None, bool], seed: int) -> None:
    """Download the images of a copy of the project, and set test images apart."""
    run_stages(folder, ("download",))
    set_params(folder, val_fraction=set_apart(folder / "data/raw", *images, seed))


def run_stages(folder: Path, stages: Sequence[str]) -> dict[str, float]:
    """Run stages; return the seconds of each."""
    return {
        stage: round(measure([sys.executable, "-m", f"stages.{stage}"], folder)[0], 1)
        for stage in stages
    }


def outcome(folder: Path, seconds: dict[str, float]) -> dict:
    """Return accuracies, the mean recall and the seconds of each stage."""
    scores = json.loads((folder / "metrics/evaluate.json").read_text())
    tuned = json.loads((folder / "metrics/fine_tune.json").read_text())
    with (folder / "metrics/classes.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "fine-tuned"]
    return {
        "tested": sum(int(row["images"]) for row in rows),
        "accuracy": scores["accuracy"],
        "head_accuracy": scores["head_accuracy"],
        "mean_recall": round(statistics.mean(float(row["recall"]) for row in rows), 5),
        "delivered": tuned["delivered"],
        "calibration": {name: scores[name] for name in CALIBRATION if name in scores},
        "seconds": seconds,
    }


def set_apart(raw: Path, per_class: int | None, development: bool, seed: int) -> float:
    """Set test images apart, and leave the surplus out; return the val_fraction to split with."""
    splits = {split_named(path.name): path for path in raw.iterdir()}
    if "train" not in splits or "test" in splits:  # or packed into shards
        if per_class or development:
            sys.exit(
                "error: --per-class and --development need train/ and val/, 10,000 images at most"
            )
        return 0.2
    splits["val"].rename(raw / "test")
    rng = np.random.default_rng(seed)
    classes = sorted(splits["train"].iterdir())
    for folder in classes if per_class or development else ():
        paths = rng.permutation(sorted(folder.iterdir()))
        test = raw / "test" / folder.name
        if development:
            shutil.rmtree(test)
            test.mkdir()
        others = paths[per_class or round(len(paths) * (1 - TEST_FRACTION)) :]
        for number, path in enumerate(others):
            kept = development and number < TESTED // len(classes)
            path.rename(test / path.name) if kept else path.unlink()
    count = sum(path.is_file() for path in splits["train"].rglob("*"))
    return VAL_FRACTION * count / sum(path.is_file() for path in raw.rglob("*"))


def write_page(runs: dict) -> None:
    """Replace the table of docs/recipes.md."""
    settings = {}
    for key, row in runs.items():
        settings.setdefault(tuple(key.split("/")[:3]), []).append(row)
    rows = []
    for (name, backbone, recipe), group in sorted(settings.items()):
        accuracies = [row["accuracy"] for row in group]
        spread = f" ± {statistics.stdev(accuracies):.3f}" if len(group) > 1 else ""
        means = [
            f"{statistics.mean(row[score] for row in group):.3f}"
            for score in ("head_accuracy", "mean_recall")
        ]
        seconds = statistics.median(sum(row["seconds"].values()) for row in group)
        first = f"{statistics.mean(accuracies):.3f}{spread}"
        tested = f"{group[0]['tested']:,}"
        rows.append([name, tested, backbone, recipe, len(group), first, *means, f"{seconds:.0f}"])
    header = ["set", "test images", "backbone", "recipe", "seeds", "accuracy", "head alone"]
    header = [*header, "mean recall", "seconds"]
    replace_between(PAGE, MARK, END, table(header, rows))
    write_calibration(settings)


def write_calibration(settings: dict[tuple, list[dict]]) -> None:
    """Replace the table of docs/predictions.md, of the runs with calibration."""
    rows = []
    for (name, backbone, recipe), group in sorted(settings.items()):
        found = [row["calibration"] for row in group if len(row.get("calibration", ())) == 4]
        if found:
            means = [f"{statistics.mean(scores[n] for scores in found):.4f}" for n in CALIBRATION]
            rows.append([name, backbone, recipe, len(found), *means])
    header = ["set", "backbone", "recipe", "seeds", "calibration error before", "after"]
    header = [*header, "loss before", "after"]
    replace_between(CALIBRATION_PAGE, MARK, END, table(header, rows))


if __name__ == "__main__":
    main()
