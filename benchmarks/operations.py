"""Time each kind of operation of a fine-tuning step: python -m benchmarks.operations.

The live layers of MobileNetV2 from 98 up, on random features of images of 160 pixels: with 1 × 1
convolutions and bias gradients as Keras has them, and as they are trained (`fold` with `to_train`).
"""

from collections import Counter

import numpy as np
from tensorflow.python.eager import context

from benchmarks import report
from benchmarks.common import in_turn, save_results
from transfer.core.runtime import keras, tf
from transfer.models.backbones import build_base
from transfer.models.classifier import build_classifier, unfreeze
from transfer.models.features import pooled_base
from transfer.models.folding import between, frontier
from transfer.training.trainer import Trainer, compile_for

FIRST, SIZE, BATCH = 98, 160, 32
ROUNDS, TRACED = 30, 10


def main() -> None:
    classifier = build_classifier(build_base("MobileNetV2", SIZE), "MobileNetV2", 2, 0.2, 0)
    unfreeze(classifier.get_layer("base"), FIRST)
    steps = {"as in Keras": step(classifier, False), "as trained": step(classifier, True)}
    seconds = in_turn(steps, ROUNDS)
    measured = {
        name: {"step": 1000 * seconds[name] / BATCH, "operations": trace(function)}
        for name, function in steps.items()
    }
    report.write(save_results({"operations": measured}))


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
    here = context.context()
    here.enable_run_metadata()
    for _ in range(TRACED):
        function()
    stats = here.export_run_metadata().step_stats
    here.disable_run_metadata()
    micros = Counter()
    for node in (node for device in stats.dev_stats for node in device.node_stats):
        kind = node.timeline_label.partition("= ")[2].partition("(")[0]
        micros[kind] += node.op_end_rel_micros - node.op_start_rel_micros
    return {kind: value / 1000 / BATCH / TRACED for kind, value in micros.most_common()}


if __name__ == "__main__":
    main()
