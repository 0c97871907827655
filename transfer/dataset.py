"""The split data set on disk: one memory-mapped array of pixels and a manifest, row by row."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transfer.files import read_csv

IMAGES = "images.npy"
MANIFEST = "manifest.csv"
REJECTED = "rejected.csv"
MANIFEST_COLUMNS = ("path", "label", "split", "sha256", "width", "height")


@dataclass(frozen=True)
class Split:
    """The pictures of one split.

    images: uint8 [M, H, W, 3], memory-mapped: those of all the splits.
    rows: int [N], the rows of `images` that are this split's.
    labels: int [N], indices into `class_names`.
    paths: N paths below data/raw.
    """

    images: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    paths: list[str]
    class_names: list[str]


def load_split(folder: Path, split: str) -> Split:
    """Open a split that the stage `split` wrote."""
    manifest = read_csv(folder / MANIFEST)
    class_names = sorted({row["label"] for row in manifest})
    rows = [index for index, row in enumerate(manifest) if row["split"] == split]
    return Split(
        images=np.load(folder / IMAGES, mmap_mode="r"),
        rows=np.array(rows),
        labels=np.array([class_names.index(manifest[row]["label"]) for row in rows]),
        paths=[manifest[row]["path"] for row in rows],
        class_names=class_names,
    )
