"""Time our training of the head and our fine-tuning alone: python benchmarks/step.py RESULT.

The counterpart of benchmarks/pytorch.py: the pixels are in memory, and a flip is the only
augmentation. The weights are random, which changes no time.
"""

import argparse
import json
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.tricks import matrix_rate, operations
from transfer.core.runtime import keras
from transfer.data.dataset import Split
from transfer.models.backbones import build_base
from transfer.models.classifier import build_classifier, unfreeze
from transfer.training.augmentation import Augmentation
from transfer.training.features import compute_features
from transfer.training.loop import Loop, fit
from transfer.training.operations import FlipAndRotate
from transfer.training.targets import Targets

from clock import Clock  # isort: skip  (the runtime has to be set up first)

BATCH_SIZE, BATCHES, ROUNDS = 32, 20, 3
FIRST = 98  # block_11_expand


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--size", type=int, default=160)
    arguments = parser.parse_args()
    count, size = BATCH_SIZE * BATCHES, arguments.size
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, size, size, 3), np.uint8)
    train = Split(images, np.arange(count), np.arange(count) % 2, [], ["a", "b"])
    val = Split(images, np.arange(BATCH_SIZE), np.arange(BATCH_SIZE) % 2, [], ["a", "b"])
    base = build_base("MobileNetV2", size)
    classifier = build_classifier(base, "MobileNetV2", 2, 0.2, 0)
    timed = {"head": epoch(classifier, train, val)}
    unfreeze(base, FIRST)
    timed["fine_tune"] = epoch(classifier, train, val)
    frozen, live, rate = (
        operations(base.layers[:FIRST]),
        operations(base.layers[FIRST:]),
        matrix_rate(),
    )
    timed |= {
        "rate": rate / 1e9,
        "floor_head": 1000 * (frozen + live) / rate,
        "floor_fine_tune": 1000 * (frozen + 3 * live) / rate,
    }
    arguments.result.write_text(json.dumps(timed))


def epoch(classifier: keras.Model, train: Split, val: Split) -> float:
    """Return the ms per image of training, the median of some epochs."""
    augmentation = Augmentation(0, (FlipAndRotate("horizontal", 0.0),), ())
    features = compute_features(classifier, train, val, augmentation, "float32")
    clock = Clock()
    loop = Loop(BATCH_SIZE, seed=0, epochs=1 + ROUNDS, callbacks=(clock,))
    targets = Targets(train), Targets(val)
    fit(classifier, keras.optimizers.Adam(1e-4), features, targets, loop)
    return 1000 * median(clock.train[1:]) / len(train.rows)


if __name__ == "__main__":
    main()
