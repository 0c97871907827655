"""Time each kind of operation of a fine-tuning step: python -m benchmarks.operations.

The live layers of MobileNetV2 from 98 up, on random features of images of 160 pixels: with 1 × 1
convolutions and bias gradients as Keras has them, and as they are trained (`fold` with `to_train`).
"""

import re
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks import report
from benchmarks.common import in_turn, save_results
from benchmarks.tricks import matrix_rate, operations
from transfer.core.runtime import keras, tf
from transfer.models.backbones import build_base
from transfer.models.classifier import build_classifier, unfreeze
from transfer.models.features import pooled_base
from transfer.models.folding import between, frontier
from transfer.training.trainer import Trainer, compile_for

from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace  # isort: skip  (the runtime first)

FIRST, SIZE, BATCH = 98, 160, 32
ROUNDS, TRACED = 30, 10
# Its name and its kind, which begins with _Mkl or _MklNative where oneDNN computes it, or _Fused.
OPERATION = re.compile(r"[^: ]+:_?(?:Mkl)?(?:Native)?([A-Z]\w+)")


def main() -> None:
    classifier = build_classifier(build_base("MobileNetV2", SIZE), "MobileNetV2", 2, 0.2, 0)
    unfreeze(classifier.get_layer("base"), FIRST)
    steps = {"as in Keras": step(classifier, False), "as trained": step(classifier, True)}
    seconds = in_turn(steps, ROUNDS)
    measured = {
        name: {"step": 1000 * seconds[name] / BATCH, "operations": trace(function)}
        for name, function in steps.items()
    }
    live = operations(classifier.get_layer("base").layers[FIRST:])
    floor = 3 * 1000 * live / matrix_rate()  # forward, and two products backward
    report.write(save_results({"operations": {"floor": floor, "steps": measured}}))


def step(classifier: keras.Model, to_train: bool):
    """Return a function that makes one step of Adam on a random batch."""
    base = pooled_base(classifier, "float32", to_train)
    start = frontier(base)
    trainer = Trainer(between(start, base.outputs), classifier)
    compile_for(trainer, classifier, keras.optimizers.Adam(1e-4))
    rng = np.random.default_rng(0)
    features = [tf.constant(rng.random((BATCH, *t.shape[1:]), np.float32)) for t in start]
    targets = tf.constant(np.arange(BATCH)[:, None] % 2, tf.float32)
    train = tf.function(lambda: trainer.train_step((features, targets)))
    return lambda: float(train()["loss"])


def trace(function) -> dict[str, float]:
    """Return the ms per image of each kind of operation, most first; they overlap on the cores."""
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for _ in range(TRACED):
            function()
        tf.profiler.experimental.stop()
        (file,) = Path(folder).rglob("*.xplane.pb")
        space = XSpace.FromString(file.read_bytes())
    seconds = Counter()
    for plane in space.planes:
        names = {key: metadata.name for key, metadata in plane.event_metadata.items()}
        for event in (event for line in plane.lines for event in line.events):
            if match := OPERATION.fullmatch(names[event.metadata_id]):
                seconds[match[1]] += event.duration_ps / 1e12
    return {kind: 1000 * value / BATCH / TRACED for kind, value in seconds.most_common()}


if __name__ == "__main__":
    main()
