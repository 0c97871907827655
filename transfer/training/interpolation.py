"""Weights on the line from the head's model to the fine-tuned one (Wortsman et al., 2022).

Fine-tuning on a few images goes too far for some of what the base knew. Part of the way is often
better than all of it, and costs no training.
"""

from collections.abc import Callable

import numpy as np

from transfer.core.runtime import keras
from transfer.data.batches import Batches
from transfer.training.calibration import best_temperature, score
from transfer.training.features import Features
from transfer.training.loop import errors_of_training
from transfer.training.trainer import Trainer

FRACTIONS = (1.0, 0.75, 0.5, 0.25, 0.0)  # of the way; of equally good ones the first is taken


def logits_of_validation(
    classifier: keras.Model, features: Features, image_count: int, batch_size: int
) -> Callable[[], np.ndarray]:
    """Return a function that gives the logits of the validation images, float32 [N, …].

    Each call takes the weights that the classifier has then.

    Args:
        classifier: From whose live layers and head the logits come.
        features: What the live layers start from.
        image_count: Validation images.
        batch_size: Images in a batch.
    """
    trainer = Trainer(features.live, classifier)
    trainer.compile(jit_compile=False)  # as in `compile_for`
    batches = Batches(
        features.val, lambda indices, view: (), image_count, batch_size, views=1, keep=True
    )

    def logits() -> np.ndarray:
        with errors_of_training(batch_size, batches):
            return trainer.predict(batches, verbose=0)

    return logits


def interpolate(
    classifier: keras.Model,
    start: list[np.ndarray],
    logits: Callable[[], np.ndarray],
    labels: np.ndarray,
) -> tuple[float, np.ndarray]:
    """Give the trainable variables the weights that are best on the validation images.

    Args:
        classifier: Fine-tuned; changed in place.
        start: The values of its trainable variables before fine-tuning.
        logits: Made by `logits_of_validation`.
        labels: Of the validation images, int [N].

    Returns:
        The fraction of the way with the highest accuracy; of equally accurate ones 0, which is the
        head's model, or else the one with the lowest loss at its best temperature. And the logits
        of the validation images there.
    """
    variables = classifier.trainable_variables
    tuned = [variable.numpy() for variable in variables]

    def go(fraction: float) -> None:
        for variable, a, b in zip(variables, start, tuned, strict=True):
            variable.assign(b if fraction == 1 else a + np.float32(fraction) * (b - a))

    found, values = {}, {}
    for fraction in FRACTIONS:
        go(fraction)
        values[fraction] = logits()
        temperature = best_temperature(values[fraction], labels)
        found[fraction] = score(values[fraction] / temperature, labels)
    # Where no image shows that fine-tuning helps, the head's model is the safe one.
    best = max(FRACTIONS, key=lambda f: (found[f][0], f == 0, -found[f][1]))
    go(best)
    return best, values[best]
