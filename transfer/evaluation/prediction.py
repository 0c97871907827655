"""Predict the probabilities of the classes for the images of a split."""

import numpy as np
from scipy.special import softmax

from transfer.data.dataset import Split
from transfer.models.compiled import CompiledClassifier
from transfer.models.inference import map_rows


def predict(
    classifier: CompiledClassifier, split: Split, task: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return what a classifier says about the images of a split.

    Args:
        classifier: The model.
        split: The images.
        task: For the progress bar.

    Returns:
        Probabilities, float32 [N, C]; and how familiar the images are, float32 [N], or None if the
        model can't tell.
    """
    parts = list(map_rows(classifier.run, split.images, split.rows, task))
    probabilities, scores = zip(*parts, strict=True)
    known = classifier.familiarity is not None
    return np.concatenate(probabilities), np.concatenate(scores) if known else None


def uncalibrated(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probabilities that a model had before its logits were divided, float32 [N, C].

    Args:
        probabilities: float32 [N, C].
        temperature: What the logits were divided by.
    """
    smallest = np.finfo(np.float32).tiny  # log(0) would be 0 at any temperature
    logs = np.log(probabilities.astype(np.float64).clip(smallest))
    return softmax(temperature * logs, axis=1).astype(np.float32)
