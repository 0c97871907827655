"""The temperature: one divisor of all logits, which makes a model as sure as it is right.

It changes no prediction, and is fitted on images that were not trained on (Guo et al., 2017).
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from transfer.core.runtime import keras

LIMITS = 0.02, 50.0  # of the temperature
PRIOR = 1.0  # chosen on development sets: docs/recipes.md


def fit_temperature(
    logits: np.ndarray, labels: np.ndarray, smoothing: float, prior: float = 0
) -> float:
    """Return the temperature with the lowest loss on smoothed labels.

    Args:
        logits: float [N, 1] for two classes, or [N, classes].
        labels: int [N].
        smoothing: Fraction of each target that is spread over all classes.
        prior: How much a temperature of 1 is preferred: 1 / variance of a normal distribution of
            its logarithm.

    Returns:
        Rounded to four digits, which are more than the labels tell.
    """

    def loss(log_temperature: float) -> float:
        logs = log_probabilities(logits / np.exp(log_temperature))
        cross_entropy = -(1 - smoothing) * _of_labels(logs, labels).mean() - smoothing * logs.mean()
        return cross_entropy + prior * log_temperature**2 / (2 * len(labels))

    found = minimize_scalar(loss, bounds=np.log(LIMITS), method="bounded")
    return float(f"{np.exp(found.x):.4g}")


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature that suits a model best; near 1, if there are few images to tell it.

    Few images that are all right would make the model certain, at a temperature near 0.

    Args:
        logits: As for `fit_temperature`.
        labels: int [N].
    """
    return fit_temperature(logits, labels, smoothing=0, prior=PRIOR)


def score(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return accuracy and loss, rounded to six digits.

    Args:
        logits: As for `fit_temperature`.
        labels: int [N].
    """
    logs = log_probabilities(logits)
    accuracy, loss = np.mean(logs.argmax(axis=1) == labels), -_of_labels(logs, labels).mean()
    return round(float(accuracy), 6), round(float(loss), 6)


def divide_logits(classifier: keras.Model, temperature: float) -> None:
    """Divide a classifier's logits by a temperature, in the weights of its last layer."""
    dense = classifier.get_layer("head").layers[-1]
    dense.set_weights([values / np.float32(temperature) for values in dense.get_weights()])


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """Return float64 [N, classes] of logits [N, 1] or [N, classes]."""
    logits = logits.astype(np.float64)
    if logits.shape[1] == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    return log_softmax(logits, axis=1)


def _of_labels(logs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.take_along_axis(logs, labels[:, None], axis=1)
