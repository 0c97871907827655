"""Images worth a second look: labels that are probably wrong, pictures that show something else.

Of a suspect, the kind is one of these:

label: By its features, the image is of another class (transfer/training/confident.py).
twins: Two images look the same, and have two labels; the less probable one is named.
outlier: The image is unlike the others of its class.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from transfer.core.errors import printable
from transfer.core.files import iter_csv, write_csv
from transfer.data.labels import SPLITS
from transfer.training.confident import FOLDS, ROUNDS, suspicious_labels
from transfer.training.kept import BLOCK, KeptFeatures, blocks, unit

KINDS = ("label", "twins", "outlier")
COLUMNS = (
    *("path", "sha256", "split", "kind", "label", "suggested", "probability", "score", "other"),
)
MAX_COMPARED = 2_000  # images of its class that an image is compared with
MAX_TWINS = 10_000  # images, those with the least probable labels, whose twins are looked for
# Cosine of features less their mean. An image has 0.8 to 0.99 to itself, mirrored or a bit cropped.
# Two images with two labels have at most 0.71 in flowers, cats and dogs, and ants and bees, and
# 0.84 in 6,000 images of Fashion-MNIST.
TWINS = 0.85
NEIGHBOURS = 10
# Deviation of the similarity to the nearest images, in standard deviations of a normal distribution
# with the same median of deviations: 0.4 % of photos are beyond it.
OUTLIER = 4
NORMAL = 1.4826  # standard deviation of a normal distribution whose median deviation is 1


class Suspect(NamedTuple):
    """An image worth a second look; `row` and `other` are rows in the manifest.

    kind: One of KINDS.
    suggested: The class that it seems to be of; None: unknown.
    probability: Of its label, by regressions that did not learn from this image.
    score: From 0 to 1, the surest.
    other: The most similar image of the suggested class, or None.
    """

    row: int
    kind: str
    suggested: int | None
    probability: float
    score: float
    other: int | None


def find_suspects(features: KeptFeatures, labels: np.ndarray, seed: int) -> list[Suspect]:
    """Find the images of all splits that are worth a second look, the surest first.

    An image is named once: as a twin, else for its label, else as an outlier.

    Args:
        features: Of N images.
        labels: int [N], each class at least three times.
        seed: Of the folds, and of the images that are drawn where there are more than MAX_ROWS.
    """
    rng = np.random.default_rng(seed)
    by_class = [rng.permutation(np.flatnonzero(labels == c)) for c in range(labels.max() + 1)]
    steps = ROUNDS * FOLDS + len(by_class) + -(-len(labels) // BLOCK)
    with (
        threadpool_limits(1),  # else the last digits depend on the number of cores
        tqdm(total=steps, desc="suspects", unit=" steps", delay=2, disable=None) as bar,
    ):
        own, looks_like, is_wrong = suspicious_labels(features, labels, by_class, bar)
        similarity = similarity_to_class(features, by_class, bar)
        twins = find_twins(features, labels, own, bar)
    nearest = nearest_of_class(features, by_class, np.flatnonzero(is_wrong), looks_like)
    found = [
        Suspect(row, "twins", int(labels[other]), own[row], cosine, other)
        for row, other, cosine in twins
    ]
    found += [
        Suspect(row, "label", int(looks_like[row]), own[row], 1 - own[row], other)
        for row, other in nearest
    ]
    found += [
        Suspect(row, "outlier", None, own[row], 1 - similarity[row], None)
        for row in outliers(similarity)
    ]
    first = {suspect.row: suspect for suspect in reversed(found)}
    return sorted(first.values(), key=lambda suspect: (-round(suspect.score, 6), suspect.row))


def similarity_to_class(
    features: KeptFeatures, by_class: list[np.ndarray], bar: tqdm
) -> np.ndarray:
    """Return the mean cosine of each image to the NEIGHBOURS nearest of its class, float32 [N].

    Args:
        features: Of N images.
        by_class: The rows of each class; an image is compared with the first MAX_COMPARED.
        bar: Shows the progress.
    """
    similarity = np.empty(len(features), np.float32)
    for rows in by_class:
        others = rows[:MAX_COMPARED]
        reference, count = features[others], min(NEIGHBOURS, len(rows) - 1)
        for block in blocks(rows):
            cosines = features[block] @ reference.T
            cosines[block[:, None] == others] = -1  # the image itself
            similarity[block] = np.partition(cosines, -count, axis=1)[:, -count:].mean(axis=1)
        bar.update()
    return similarity


def outliers(similarity: np.ndarray) -> list[int]:
    """Return the rows whose similarity, float [N], is far below what is usual."""
    distance = np.median(similarity) - similarity
    usual = NORMAL * np.median(np.abs(distance))
    return np.flatnonzero((distance > OUTLIER * usual) & (usual > 0)).tolist()


def nearest_of_class(
    features: KeptFeatures, by_class: list[np.ndarray], rows: np.ndarray, classes: np.ndarray
) -> list[tuple[int, int]]:
    """Return pairs of a row and the row of the most similar image of a class.

    Args:
        features: Of N images.
        by_class: The rows of each class, of which the first MAX_COMPARED are searched.
        rows: The rows to find one for, int [M].
        classes: The class to search for each of N images, int [N].
    """
    pairs = []
    for c in np.unique(classes[rows]):
        others = by_class[c][:MAX_COMPARED]
        reference = features[others]
        for block in blocks(rows[classes[rows] == c]):
            nearest = others[(features[block] @ reference.T).argmax(axis=1)]
            pairs += zip(block.tolist(), nearest.tolist(), strict=True)
    return pairs


def find_twins(
    features: KeptFeatures, labels: np.ndarray, own: np.ndarray, bar: tqdm
) -> list[tuple[int, int, float]]:
    """Find pairs of images that look the same and have two labels.

    One of them has an improbable label, so that only such images are compared with all others.

    Args:
        features: Of N images.
        labels: int [N].
        own: Probabilities of the labels, float [N].
        bar: Shows the progress.

    Returns:
        The row with the less probable label, the other row and their cosine, of each pair.
    """
    rows = np.argsort(own, kind="stable")[:MAX_TWINS]
    every = blocks(np.arange(len(labels)))
    centre = sum(features[block].sum(axis=0, dtype=float) for block in every) / len(labels)
    centre = centre.astype(np.float32)
    reference = unit(features[rows] - centre).T
    best, other = np.full(len(rows), -1, np.float32), np.zeros(len(rows), int)
    for block in every:
        cosines = unit(features[block] - centre) @ reference
        cosines[labels[block][:, None] == labels[rows]] = -1
        nearest = cosines.argmax(axis=0)
        highest = cosines[nearest, np.arange(len(rows))]
        other = np.where(highest > best, block[nearest], other)
        best = np.maximum(best, highest)
        bar.update()
    pairs = {}
    for index in np.flatnonzero(best >= TWINS):
        row, twin = int(rows[index]), int(other[index])
        if pairs.get(twin, (None,))[0] != row:
            pairs[row] = (twin, min(float(best[index]), 1.0))
    return [(row, *found) for row, found in pairs.items()]


def write_suspects(
    path: Path, suspects: list[Suspect], manifest: Path, class_names: list[str]
) -> list[dict]:
    """Write the suspects as a table of COLUMNS, and return its rows.

    Args:
        path: Of the table.
        suspects: In the order to write them in.
        manifest: A row for each image, which is read row by row, since it may have millions.
        class_names: The names of the classes.
    """
    wanted = {row for s in suspects for row in (s.row, s.other)}
    images = {row: image for row, image in enumerate(iter_csv(manifest)) if row in wanted}
    rows = [
        {
            **{name: images[s.row][name] for name in ("path", "sha256", "split", "label")},
            "kind": s.kind,
            "suggested": "" if s.suggested is None else class_names[s.suggested],
            "probability": round(float(s.probability), 6),
            "score": round(float(s.score), 6),
            "other": "" if s.other is None else images[s.other]["path"],
        }
        for s in suspects
    ]
    write_csv(path, COLUMNS, ([row[name] for name in COLUMNS] for row in rows))
    return rows


def summary(rows: list[dict], path: Path) -> str:
    """Return a line about the suspects.

    Args:
        rows: Those of the table, the surest first.
        path: Of the table.
    """
    if not rows:
        return "no image needs a second look"
    kinds, splits = (Counter(row[name] for row in rows) for name in ("kind", "split"))
    first = rows[0]
    looks = f"looks like {first['suggested']}" if first["suggested"] else "unlike the others"
    return printable(
        f"{kinds['label']:,} suspicious labels, {kinds['twins']:,} twins with two labels, "
        f"{kinds['outlier']:,} outliers ({', '.join(f'{splits[s]:,} {s}' for s in SPLITS)}), "
        f"the first {first['path']}: labelled {first['label']}, {looks}; {path} lists them all"
    )
