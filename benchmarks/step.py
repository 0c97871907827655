"""Time our training of the head and our fine-tuning alone: python benchmarks/step.py RESULT.

The counterpart of benchmarks/pytorch.py: the pixels are in memory, and a flip is the only
augmentation. The weights are random, which changes no time.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median

import numpy as np

from transfer.core.parallel import CORES
from transfer.core.runtime import keras, tf
from transfer.data.dataset import Split
from transfer.models.backbones import build_base
from transfer.models.classifier import build_classifier, unfreeze
from transfer.models.features import pooled_base
from transfer.models.folding import Folded
from transfer.training.augmentation import Augmentation
from transfer.training.features import compute_features
from transfer.training.loop import Loop, fit
from transfer.training.operations import FlipAndRotate
from transfer.training.targets import Targets

BATCH_SIZE, BATCHES, ROUNDS = 32, 20, 3
FIRST = 98  # block_11_expand
SIDE = 2048  # of a matrix that is multiplied by itself


class Clock(keras.callbacks.Callback):
    """Measure the seconds of training in each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.started = time.perf_counter()

    def on_test_begin(self, logs: dict | None = None) -> None:
        self.seconds.append(time.perf_counter() - self.started)


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
    flops, rate = operations(classifier), matrix_rate()
    frozen, live = flops[:2]
    timed |= {
        "rate": rate,
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
    return 1000 * median(clock.seconds[1:]) / len(train.rows)


def operations(classifier: keras.Model) -> tuple[float, float]:
    """Return the GFLOP for an image, forward, of the frozen layers and of those that train."""
    sums = {False: 0.0, True: 0.0}
    for layer in pooled_base(classifier, "float32").layers:
        if isinstance(layer, Folded):
            kernel = layer.convolution.kernel.shape
            is_depthwise = isinstance(layer.convolution, keras.layers.DepthwiseConv2D)
            inputs = 1 if is_depthwise else kernel[2]
            outputs = np.prod(layer.output.shape[1:])
            of_layer = 2 * outputs * kernel[0] * kernel[1] * inputs / 1e9
            sums[layer.convolution.trainable] += float(of_layer)
    return sums[False], sums[True]


def matrix_rate() -> float:
    """Return the GFLOP/s of a matrix product on all cores."""
    matrix = tf.constant(np.random.default_rng(0).random((SIDE, SIDE), np.float32))
    multiply, seconds = tf.function(lambda: matrix @ matrix), []
    for _ in range(12):
        started = time.perf_counter()
        multiply().numpy()
        seconds.append(time.perf_counter() - started)
    return 2 * SIDE**3 / median(seconds) / 1e9


if __name__ == "__main__":
    print(f"{CORES} cores")
    main()
