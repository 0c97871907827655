"""Labels that are probably wrong, by confident learning (Northcutt et al., 2021).

Nothing is trained but logistic regressions on features of the frozen base, so it takes seconds.
"""

from collections.abc import Callable, Iterator

import numpy as np
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from transfer.training.convex import PENALTY
from transfer.training.kept import KeptFeatures, blocks

FOLDS = 5
ROUNDS = 2  # in the second, the regressions don't learn from the labels that the first suspects
MAX_ROWS = 20_000  # images that the regressions learn from: 102 MB of 1,280 numbers each

# Yields rows, int [B], and the probabilities of their classes, float [B, C], for all images.
Probabilities = Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]


def suspicious_labels(
    features: KeptFeatures, labels: np.ndarray, by_class: list[np.ndarray], bar: tqdm
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the labels that are probably wrong.

    Args:
        features: Of N images.
        labels: int [N].
        by_class: The rows of each class, in the order in which they are drawn.
        bar: Shows the progress.

    Returns:
        The out-of-fold probability of each label, float32 [N]; the most probable class of each
        image, int [N]; and whether its label is suspicious, bool [N].
    """
    folds = np.empty(len(labels), int)
    folds[np.concatenate(by_class)] = np.arange(len(labels)) % FOLDS
    rows = np.concatenate([c[: max(FOLDS, MAX_ROWS * len(c) // len(labels))] for c in by_class])
    x = features[rows]
    centre, scale = x.mean(axis=0), np.sqrt(x.var(axis=0).mean()) or 1
    x = (x - centre) / scale  # centred, they take a third of the iterations
    solvers = [LogisticRegression(max_iter=1000, warm_start=True) for _ in range(FOLDS)]
    is_used = np.ones(len(rows), bool)

    def probabilities() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for block in blocks(np.arange(len(labels))):
            values = (features[block] - centre) / scale
            found = np.empty((len(block), len(by_class)))
            for fold in np.unique(folds[block]):
                is_out = folds[block] == fold
                found[is_out] = solvers[fold].predict_proba(values[is_out])
            yield block, found

    for _ in range(ROUNDS):
        for fold, solver in enumerate(solvers):
            used = is_used & (folds[rows] != fold)
            solver.set_params(C=1 / (PENALTY * np.count_nonzero(used)))
            solver.fit(x[used], labels[rows[used]])
            bar.update()
        own, looks_like, is_wrong = confident_learning(probabilities, labels, by_class)
        # A class that would lose over half of its images keeps them all, to be in every fold.
        lost = np.bincount(labels[rows], is_wrong[rows]) > np.bincount(labels[rows]) / 2
        is_used = ~is_wrong[rows] | lost[labels[rows]]
    return own, looks_like, is_wrong


def confident_learning(
    probabilities: Probabilities, labels: np.ndarray, by_class: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count the wrong labels of each class, and name as many, those with the least probability.

    A label counts as wrong if the image is as surely of another class as the images with that label
    are on average. The rule by which as many are named is the paper's "prune by class".

    Args:
        probabilities: Out-of-fold; called twice, so that they need not all be in memory.
        labels: int [N].
        by_class: The rows of each class.

    Returns:
        As for `suspicious_labels`.
    """
    own, looks_like = np.empty(len(labels), np.float32), np.empty(len(labels), int)
    for block, found in probabilities():
        own[block] = found[np.arange(len(block)), labels[block]]
        looks_like[block] = found.argmax(axis=1)
    thresholds = np.array([own[rows].mean() for rows in by_class])
    is_off = np.zeros(len(labels), bool)
    for block, found in probabilities():
        confident = np.where(found >= thresholds, found, -1)
        is_off[block] = (confident.argmax(axis=1) != labels[block]) & (confident.max(axis=1) >= 0)
    is_wrong = np.zeros(len(labels), bool)
    for rows in by_class:
        least = rows[np.argsort(own[rows], kind="stable")]
        is_wrong[least[: np.count_nonzero(is_off[rows])]] = True
    return own, looks_like, is_wrong & (looks_like != labels)
