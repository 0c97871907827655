"""Measure how many planted wrong labels are found, and how many of those named are planted.

python -m benchmarks.suspects NAME=SOURCE … [--seeds 0 1 2] [--fraction 0.05]

A SOURCE is what `data_url` takes. So large a fraction of the training labels is replaced by another
class, drawn at random. Real wrong labels beside them count against the precision, which is
therefore a lower bound. Seconds are those after the frozen pass, the least of all seeds.

A head is trained on the labels as they are, with the planted ones, and with all that were named
changed as suggested, planted or not. Its accuracy is that on the validation and test images, whose
labels stay as they are.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks.common import measure, replace_between, table
from scripts.project import PROJECT, temporary_copy
from transfer.core.params_file import load_params
from transfer.data.dataset import Split, load_split, plain_pixels
from transfer.data.labels import SPLITS
from transfer.models.backbones import build_base, load_weights
from transfer.models.classifier import build_classifier
from transfer.training.convex import PENALTY
from transfer.training.features import features_of
from transfer.training.kept import KeptFeatures
from transfer.training.suspects import KINDS, find_suspects

PAGE = PROJECT / "docs/suspects.md"
MARK, END = "<!-- python -m benchmarks.suspects writes from here -->\n", "<!-- to here -->\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", metavar="NAME=SOURCE")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--fraction", type=float, default=0.05)
    arguments = parser.parse_args()
    rows = []
    for name, source in (text.split("=", 1) for text in arguments.sets):
        with temporary_copy(None, data_url=source) as folder:
            for stage in ("download", "split"):
                measure([sys.executable, "-m", f"stages.{stage}"], folder)
            splits = [load_split(folder / "data/split", split) for split in SPLITS]
            kept = keep_features(folder, splits)
        rows.append([name, *measure_set(kept, splits, arguments.seeds, arguments.fraction)])
    header = ["set", "images", "classes", "named as they are: label, twins, outlier"]
    header += ["planted", "precision", "recall", "seconds"]
    header += ["head, as they are", "planted", "corrected"]
    text = table(header, rows)
    print(text)
    if PAGE.exists():
        replace_between(PAGE, MARK, END, text)


def keep_features(folder: Path, splits: list[Split]) -> KeptFeatures:
    """Compute the features of all images, as the stage `train_head` does."""
    params, images = load_params(folder / "params.yaml"), splits[0].images
    base = build_base(params.backbone, image_size=images.shape[1])
    load_weights(base, folder / "models/base.weights.h5")
    classifier = build_classifier(base, params.backbone, 2, 0.0, 0)
    readers = [plain_pixels(split) for split in splits[:2]]
    kept = KeptFeatures(folder, len(images), base.output_shape[-1])
    kept.complete(images, features_of(classifier, *readers, "float32").extract)
    return kept


def measure_set(
    kept: KeptFeatures, splits: list[Split], seeds: list[int], fraction: float
) -> list[str]:
    """Return the columns of the table."""
    labels = np.empty(len(kept), int)
    for split in splits:
        labels[split.rows] = split.labels
    classes = len(splits[0].class_names)
    found = [suspect.kind for suspect in find_suspects(kept, labels, 0)]
    scores, seconds = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        train = splits[0].rows
        planted = rng.choice(train, round(fraction * len(train)), replace=False)
        wrong = labels.copy()
        wrong[planted] += rng.integers(1, classes, len(planted))
        wrong %= classes
        started = time.monotonic()
        suspects = find_suspects(kept, wrong, 0)
        seconds.append(time.monotonic() - started)
        in_train = {*train.tolist()}
        named = {s.row: s.suggested for s in suspects if s.kind == "label" and s.row in in_train}
        right = len({*named} & {*planted})
        corrected = wrong.copy()
        corrected[[*named]] = [*named.values()]
        accuracies = (head_accuracy(kept, each, labels, train) for each in (wrong, corrected))
        scores.append((right / max(len(named), 1), right / len(planted), *accuracies))
    precision, recall, *accuracies = (
        f"{statistics.mean(column):.3f} ({min(column):.3f} to {max(column):.3f})"
        for column in zip(*scores, strict=True)
    )
    kinds = ", ".join(str(found.count(kind)) for kind in KINDS)
    as_they_are = f"{head_accuracy(kept, labels, labels, train):.3f}"
    counts = [f"{len(kept):,}", classes, kinds, len(planted)]
    return [*counts, precision, recall, f"{min(seconds):.0f}", as_they_are, *accuracies]


def head_accuracy(
    kept: KeptFeatures, learned: np.ndarray, labels: np.ndarray, train: np.ndarray
) -> float:
    """Train a head on some labels of the training images; return its accuracy on the others.

    Args:
        kept: Features of N images.
        learned: The labels to learn from, int [N].
        labels: Those to score by, int [N].
        train: The rows of the training images.
    """
    scale = np.sqrt(kept[train].var(axis=0).mean())
    others = np.setdiff1d(np.arange(len(kept)), train)
    solver = LogisticRegression(C=1 / (PENALTY * len(train)), max_iter=1000)
    solver.fit(kept[train] / scale, learned[train])
    return solver.score(kept[others] / scale, labels[others])


if __name__ == "__main__":
    main()
