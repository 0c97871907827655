"""Metrics of predicted probabilities against labels."""

from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    precision_recall_curve,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
)

BINS = 10  # of the confidence, for the calibration error
SIGNIFICANT = 0.05  # the highest p-value of a difference that is more than chance


class ClassScores(NamedTuple):
    """Scores of one class; image_count is the number of images with its label."""

    precision: float
    recall: float
    f1: float
    image_count: int


class Curve(NamedTuple):
    """A curve as a table: its name, the names of the columns, and the rows."""

    name: str
    header: tuple[str, str]
    rows: list[list[float]]


def scores(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Score a classifier over all classes.

    With two classes, precision, recall, F1 and average precision are those of the second class, as
    is usual for a detector of that class. With more, they are means over the classes.

    Args:
        labels: int [N]; every class is present.
        probabilities: float [N, C], rows that sum to 1.

    Returns:
        accuracy with Wilson's 95 % interval (accuracy_low, accuracy_high), balanced_accuracy (mean
        recall of the classes), macro_f1 (mean F1 of the classes), loss (cross-entropy in nats),
        precision, recall, f1, roc_auc (one-vs-rest), average_precision, brier (Brier, 1950; half
        the sum over the classes, so from 0 to 1 for any number of classes) and calibration_error.
    """
    classes = np.arange(probabilities.shape[1])
    # log_loss warns of rows that don't sum to 1: float32 rows sum to 1 ± 1e-7.
    probabilities = probabilities.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predictions = probabilities.argmax(axis=1)
    low, high = wilson_interval(int((predictions == labels).sum()), len(labels))
    binary = len(classes) == 2
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predictions, average="binary" if binary else "macro", zero_division=0
    )
    ranked = probabilities[:, 1] if binary else probabilities
    return {
        "accuracy": float((predictions == labels).mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "balanced_accuracy": float(balanced_accuracy_score(labels, predictions)),
        "macro_f1": float(f1_score(labels, predictions, average="macro", zero_division=0)),
        "loss": float(log_loss(labels, probabilities, labels=classes)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "roc_auc": float(roc_auc_score(labels, ranked, multi_class="ovr")),
        "average_precision": float(average_precision_score(labels, ranked)),
        "brier": float(brier_score_loss(labels, probabilities, labels=classes, scale_by_half=True)),
        "calibration_error": calibration_error(labels, probabilities),
    }


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return both ends of Wilson's 95 % interval of a fraction (Wilson, 1927)."""
    interval = binomtest(successes, trials).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar_test(first_right: np.ndarray, second_right: np.ndarray) -> tuple[int, int, float]:
    """Compare two classifiers on the same images with McNemar's exact test (McNemar, 1947).

    It is far more sensitive than a comparison of two intervals, since images that both classifiers
    get right, or both get wrong, say nothing about their difference.

    Args:
        first_right: Whether one classifier gets each image right, bool [N].
        second_right: Whether the other one does, bool [N].

    Returns:
        The number of images that only the first gets right, the number that only the second gets
        right, and the p-value: the probability that equally good classifiers differ as much.
    """
    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    discordant = only_first + only_second
    p_value = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return only_first, only_second, p_value


def scores_by_class(labels: np.ndarray, probabilities: np.ndarray) -> list[ClassScores]:
    """Score each class.

    Args:
        labels: int [N].
        probabilities: float [N, C].

    Returns:
        C rows; precision, recall and F1 are rounded to 5 decimals.
    """
    columns = precision_recall_fscore_support(
        labels,
        probabilities.argmax(axis=1),
        labels=np.arange(probabilities.shape[1]),
        zero_division=0,
    )
    return [
        ClassScores(*(round(float(score), 5) for score in row), int(image_count))
        for *row, image_count in zip(*columns, strict=True)
    ]


def curves(labels: np.ndarray, probabilities: np.ndarray) -> list[Curve]:
    """Compute the curves that `dvc plots` draws.

    Args:
        labels: int [N].
        probabilities: float [N, C].

    Returns:
        roc, precision_recall, reliability and risk_coverage, rounded to 5 decimals.
    """
    truth, score = one_vs_rest(labels, probabilities)
    false_positive, true_positive, _ = roc_curve(truth, score)
    precision, recall, _ = precision_recall_curve(truth, score, drop_intermediate=True)
    bins, answers = reliability_bins(labels, probabilities), risk_coverage(labels, probabilities)
    return [
        Curve(name, header, np.round(np.column_stack(columns), 5).tolist())
        for name, header, columns in (
            ("roc", ("false_positive_rate", "true_positive_rate"), (false_positive, true_positive)),
            ("precision_recall", ("recall", "precision"), (recall, precision)),
            ("reliability", ("confidence", "accuracy"), (bins["confidence"], bins["accuracy"])),
            ("risk_coverage", ("coverage", "risk"), (answers["coverage"], answers["risk"])),
        )
    ]


def one_vs_rest(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reduce a classification to binary decisions, for ROC and precision-recall curves.

    Args:
        labels: int [N].
        probabilities: float [N, C].

    Returns:
        Truth (1 or 0) and score of M decisions. With two classes, the decision is whether an image
        is of the second class: M = N. With more, there is one decision per image and class, all
        pooled (the micro-average): M = N * C.
    """
    if probabilities.shape[1] == 2:
        return labels, probabilities[:, 1]
    return np.eye(probabilities.shape[1], dtype=int)[labels].ravel(), probabilities.ravel()


def reliability_bins(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS
) -> dict[str, np.ndarray]:
    """Group predictions by their confidence, in bins of equal width.

    Args:
        labels: int [N].
        probabilities: float [N, C].
        bins: Number of bins between 0 and 1.

    Returns:
        confidence (mean), accuracy and count of the bins that are not empty, each [B].
    """
    confidence = probabilities.max(axis=1).astype(np.float64).clip(max=1)  # float32 may exceed 1
    correct = probabilities.argmax(axis=1) == labels
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)  # the last bin includes 1.0
    count = np.bincount(bin_of, minlength=bins)
    filled = count > 0
    return {
        "confidence": np.bincount(bin_of, confidence, bins)[filled] / count[filled],
        "accuracy": np.bincount(bin_of, correct, bins)[filled] / count[filled],
        "count": count[filled],
    }


def risk_coverage(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Tell how often answers are wrong if those below a threshold are left to a person.

    Args:
        labels: int [N].
        probabilities: float [N, C].

    Returns:
        For each confidence that occurs, the highest first, as threshold: coverage, the fraction of
        images with at least this confidence, and risk, the fraction of them that are wrong
        (Geifman and El-Yaniv, 2017); each [T].
    """
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    wrong = (probabilities.argmax(axis=1) != labels)[order]
    threshold, firsts = np.unique(-confidence[order], return_index=True)
    answered = np.append(firsts[1:], len(labels))  # equally sure answers are given together
    return {
        "threshold": -threshold,
        "coverage": answered / len(labels),
        "risk": np.cumsum(wrong)[answered - 1] / answered,
    }


def answered_at_least(
    labels: np.ndarray, probabilities: np.ndarray, threshold: float
) -> tuple[float, float, int]:
    """Return the fraction of images answered at a threshold, their accuracy, and their mistakes.

    Args:
        labels: int [N].
        probabilities: float [N, C].
        threshold: The lowest probability of an answer; the accuracy is NaN if there is none.
    """
    answered = probabilities.max(axis=1) >= threshold
    right = probabilities.argmax(axis=1)[answered] == labels[answered]
    return (
        float(answered.mean()),
        float(right.mean()) if right.size else np.nan,
        int((~right).sum()),
    )


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error (Guo et al., 2017), from 0 (calibrated) to 1.

    Args:
        labels: int [N].
        probabilities: float [N, C].
        bins: Number of bins between 0 and 1.
    """
    binned = reliability_bins(labels, probabilities, bins)
    gaps = np.abs(binned["accuracy"] - binned["confidence"])
    return float(np.average(gaps, weights=binned["count"]))
