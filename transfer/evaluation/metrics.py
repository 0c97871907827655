"""Scores of probabilities against labels."""

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    precision_recall_curve,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
)

BINS = 10  # of the confidence, for the calibration error


def scores(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Score a classifier on the whole.

    Precision, recall, F1 and average precision are those of the second class where there are two,
    as is usual for a detector of that class, else their means over the classes.

    Args:
        labels: int [N], all the classes present.
        probabilities: float [N, C], rows that sum to 1.

    Returns:
        accuracy with Wilson's 95 % interval (accuracy_low, accuracy_high), loss (cross-entropy in
        nats), precision, recall, f1, roc_auc (one against the rest), average_precision, brier
        (Brier, 1950; half the sum over classes, so from 0 to 1 for any number of them) and
        calibration_error.
    """
    classes = np.arange(probabilities.shape[1])
    # float64 and exact sums: float32 rows sum to 1 ± 1e-7, which log_loss warns of
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
        "loss": float(log_loss(labels, probabilities, labels=classes)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "roc_auc": float(roc_auc_score(labels, ranked, multi_class="ovr")),
        "average_precision": float(average_precision_score(labels, ranked)),
        "brier": float(brier_score_loss(labels, probabilities, labels=classes, scale_by_half=True)),
        "calibration_error": calibration_error(labels, probabilities),
    }


def wilson_interval(right: int, of: int) -> tuple[float, float]:
    """Return the ends of Wilson's 95 % interval of a share (Wilson, 1927)."""
    interval = binomtest(right, of).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def compare(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[int, int, float]:
    """Compare two classifiers on the same pictures with McNemar's exact test (McNemar, 1947).

    Far sharper than two intervals side by side: what both have right or wrong tells nothing.

    Args:
        first: Probabilities, float [N, C]; and so is `second`.

    Returns:
        How many pictures only the first has right, how many only the second, and the chance that
        equally good ones would differ as much.
    """
    right, right_too = (p.argmax(axis=1) == labels for p in (first, second))
    only_first, only_second = int((right & ~right_too).sum()), int((right_too & ~right).sum())
    decided = only_first + only_second
    p_value = float(binomtest(only_first, decided).pvalue) if decided else 1.0
    return only_first, only_second, p_value


def scores_by_class(labels: np.ndarray, probabilities: np.ndarray) -> list[tuple]:
    """Return precision, recall, F1 and number of pictures for each class."""
    table = precision_recall_fscore_support(
        labels,
        probabilities.argmax(axis=1),
        labels=np.arange(probabilities.shape[1]),
        zero_division=0,
    )
    return [
        (*(round(float(v), 5) for v in row[:3]), int(row[3])) for row in zip(*table, strict=True)
    ]


def curves(labels: np.ndarray, probabilities: np.ndarray) -> list[tuple[str, tuple, list]]:
    """Return name, header and rows of each curve that `dvc plots` draws."""
    truth, scored = one_against_rest(labels, probabilities)
    false_positive, true_positive, _ = roc_curve(truth, scored)
    precision, recall, _ = precision_recall_curve(truth, scored, drop_intermediate=True)
    bins = reliability_bins(labels, probabilities)
    return [
        (name, header, np.round(np.column_stack(columns), 5).tolist())
        for name, header, columns in (
            ("roc", ("false_positive_rate", "true_positive_rate"), (false_positive, true_positive)),
            ("precision_recall", ("recall", "precision"), (recall, precision)),
            ("reliability", ("confidence", "accuracy"), (bins["confidence"], bins["accuracy"])),
        )
    ]


def one_against_rest(
    labels: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and score of binary decisions, both [M], for ROC and precision-recall curves.

    Two classes: is it the second one? M = N. More: is it this one? for each class, pooled (the
    micro-average); M = N * C.
    """
    if probabilities.shape[1] == 2:
        return labels, probabilities[:, 1]
    return np.eye(probabilities.shape[1], dtype=int)[labels].ravel(), probabilities.ravel()


def reliability_bins(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS
) -> dict[str, np.ndarray]:
    """Group predictions by their confidence, in bins of equal width.

    Returns:
        confidence (mean), accuracy and count, each [B], of the bins that are not empty.
    """
    confidence = probabilities.max(axis=1).astype(np.float64).clip(max=1)  # float32 may round above
    correct = probabilities.argmax(axis=1) == labels
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)  # the last one holds 1.0
    count = np.bincount(bin_of, minlength=bins)
    full = count > 0
    return {
        "confidence": np.bincount(bin_of, confidence, bins)[full] / count[full],
        "accuracy": np.bincount(bin_of, correct, bins)[full] / count[full],
        "count": count[full],
    }


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error (Guo et al., 2017), from 0 (calibrated) to 1."""
    binned = reliability_bins(labels, probabilities, bins)
    gaps = np.abs(binned["accuracy"] - binned["confidence"])
    return float(np.average(gaps, weights=binned["count"]))
