"""The converged head: logistic regression on features of the frozen base.

The loss is convex, so it has one minimum, and L-BFGS finds it in seconds, whatever the number of
images; no learning rate and no number of epochs has to suit them. Fine-tuning from a converged head
distorts the base less than from a random one (Kumar et al., 2022).
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from transfer.core.parallel import CORES, map_in_threads
from transfer.core.params import Params
from transfer.core.runtime import keras
from transfer.data.dataset import Reader, Split, plain_pixels
from transfer.training.features import Features

# Axes of pixels [B, H, W, 3] that each value of `flip` mirrors.
AXES = {"none": (), "horizontal": 2, "vertical": 1, "horizontal_and_vertical": (1, 2)}
MAX_ROWS = 50_000  # of features at a time in memory: 256 MB of 1,280 numbers each
# L2 penalty of the weights, for features whose standard deviation is 1 (root mean square over all).
PENALTY = 0.03
BATCH = 32  # images


def plain_and_mirrored(split: Split, flip: str) -> Reader:
    """Return a reader of a split's pixels: plain in view 1, mirrored in view 2.

    Random crops make a solved head worse (docs/recipes.md): they show other scales than the images
    that it has to classify.

    Args:
        split: The training images.
        flip: The parameter of that name.
    """
    plain = plain_pixels(split)

    def read(indices: np.ndarray, view: int) -> tuple[np.ndarray, ...]:
        (pixels,) = plain(indices, view)
        return (np.ascontiguousarray(np.flip(pixels, AXES[flip])) if view == 2 else pixels,)

    return read


def solve_head(
    classifier: keras.Model, features: Features, train: Split, val: Split, params: Params
) -> tuple[float, ...]:
    """Give a classifier's head the weights of a logistic regression on its frozen features.

    Of more than MAX_ROWS images, that many are drawn, and the first of each class is added.

    Args:
        classifier: With a frozen base; its last layer is changed in place.
        features: The pooled output of the base, [B, D], of `plain_and_mirrored` images.
        train: The training images.
        val: The validation images, which only give scores.
        params: Class weights, seed and flip are read here.

    Returns:
        Accuracy and loss on the training images, without the penalty, and on the validation images.
    """
    rows = np.arange(len(train.labels))
    if len(rows) > MAX_ROWS:
        drawn = np.random.default_rng(params.seed).choice(rows, MAX_ROWS, replace=False)
        rows = np.union1d(drawn, np.unique(train.labels, return_index=True)[1])
    views = 1 if params.flip == "none" else max(1, min(2, MAX_ROWS // len(rows)))
    parts = [read_all(features.train, rows, view) for view in range(1, views + 1)]
    x, labels = np.concatenate(parts), np.tile(train.labels[rows], views)
    scale = np.sqrt(x.var(axis=0).mean())
    x /= scale
    solver = LogisticRegression(
        C=1 / (PENALTY * len(x)),
        class_weight="balanced" if params.class_weights == "balanced" else None,
        max_iter=1000,
    )
    with threadpool_limits(1):  # else the last digits depend on the number of cores
        solver.fit(x, labels)
    dense = classifier.get_layer("head").layers[-1]
    dense.set_weights([solver.coef_.T / scale, solver.intercept_])
    x_val = read_all(features.val, np.arange(len(val.labels)), 1) / scale
    found = (*scores(solver, x, labels), *scores(solver, x_val, val.labels))
    return tuple(round(score, 6) for score in found)


def read_all(read: Reader, rows: np.ndarray, view: int) -> np.ndarray:
    """Return the features of some images, float32 [N, D].

    Args:
        read: Reads the features.
        rows: Indices of the images in their split, int [N].
        view: Which view of them, from 1.
    """
    batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    bar = tqdm(batches, desc="features", unit=" batches", disable=None)
    parts = map_in_threads(lambda batch: read(batch, view)[0], bar, 2 * CORES)
    return np.concatenate(list(parts))


def scores(solver: LogisticRegression, x: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return the accuracy and the loss on some features.

    Args:
        solver: After its fit.
        x: float32 [N, D].
        labels: int [N].
    """
    probabilities = solver.predict_proba(x)
    accuracy = np.mean(solver.classes_[probabilities.argmax(axis=1)] == labels)
    return float(accuracy), float(log_loss(labels, probabilities, labels=solver.classes_))
