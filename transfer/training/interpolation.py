"""Weights on the line from the head's model to the fine-tuned one (Wortsman et al., 2022).

Fine-tuning on a few images goes too far for some of what the base knew. Part of the way is often
better than all of it, and costs no training.
"""

import numpy as np

from transfer.core.runtime import keras
from transfer.data.batches import Batches
from transfer.training.features import Features
from transfer.training.targets import Targets
from transfer.training.trainer import Trainer, compile_for

FRACTIONS = (0.25, 0.5, 0.75, 1.0)  # of the way


def interpolate(
    classifier: keras.Model,
    start: list[np.ndarray],
    features: Features,
    targets: Targets,
    batch_size: int,
) -> tuple[float, float, float]:
    """Give the trainable variables the weights that are best on the validation images.

    Args:
        classifier: Fine-tuned; changed in place.
        start: The values of its trainable variables before fine-tuning.
        features: What its live layers start from.
        targets: Of the validation images.
        batch_size: Images in a batch.

    Returns:
        The fraction of the way, and accuracy and loss on the validation images: the highest
        accuracy and, where it is the same, the lowest loss.
    """
    trainer = Trainer(features.live, classifier)
    compile_for(trainer, classifier, keras.optimizers.SGD())
    batches = Batches(features.val, targets, len(targets), batch_size, views=1, keep=True)
    variables = classifier.trainable_variables
    tuned = [variable.numpy() for variable in variables]

    def go(fraction: float) -> None:
        for variable, a, b in zip(variables, start, tuned, strict=True):
            variable.assign(b if fraction == 1 else a + np.float32(fraction) * (b - a))

    scores = {}
    for fraction in FRACTIONS:
        go(fraction)
        found = trainer.evaluate(batches, verbose=0, return_dict=True)
        scores[fraction] = found["accuracy"], -found["loss"]
    best = max(scores, key=scores.get)
    go(best)
    accuracy, loss = (round(abs(float(score)), 6) for score in scores[best])
    return best, accuracy, loss
