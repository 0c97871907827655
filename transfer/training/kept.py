"""The plain features of all images, kept for as long as the head's stage looks at them again."""

import os
import weakref
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from tqdm import tqdm

from transfer.core.parallel import CORES, map_in_threads
from transfer.data.arrays import read_array
from transfer.data.dataset import Reader, Split
from transfer.data.shards import StoredImages
from transfer.models.inference import Inference
from transfer.training.features import Features

BATCH = 32  # images that are computed at a time
BLOCK = 1_024  # images that are read at a time


class KeptFeatures:
    """Features of images, each scaled to length 1, by their rows in the manifest.

    They are float16 in a file without a name, so that memory stays flat and no file is left over.
    """

    def __init__(self, folder: Path, count: int, width: int) -> None:
        """Make room for the features.

        Args:
            folder: On the disk that has room for them.
            count: How many images there are.
            width: Numbers of an image.
        """
        with TemporaryFile(dir=folder) as file:
            self.file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self.file)
        self.width = width
        self.is_kept = np.zeros(count, bool)

    def keep(self, rows: np.ndarray, features: np.ndarray) -> None:
        """Keep features, float32 [B, D], of some rows, int [B]; several threads may do so."""
        for row, values in zip(rows.tolist(), unit(features).astype(np.float16), strict=True):
            os.pwrite(self.file, values.tobytes(), row * values.nbytes)
        self.is_kept[rows] = True

    def keeping(self, features: Features, train: Split, val: Split) -> Features:
        """Return readers of the same features that keep those of view 1.

        Args:
            features: Pooled, [B, D], of images that are in view 1 as they are.
            train: The training images.
            val: The validation images.
        """

        def keep_too(read: Reader, rows: np.ndarray) -> Reader:
            def read_and_keep(indices: np.ndarray, view: int) -> tuple[np.ndarray, ...]:
                arrays = read(indices, view)
                if view == 1:
                    self.keep(rows[indices], arrays[0])
                return arrays

            return read_and_keep

        return replace(
            features,
            train=keep_too(features.train, train.rows),
            val=keep_too(features.val, val.rows),
        )

    def complete(self, images: StoredImages, extract: Inference) -> None:
        """Compute the features that have not been kept yet.

        Args:
            images: uint8 [N, H, W, 3].
            extract: From pixels to a list of arrays, the features, [B, D], first.
        """
        missing = np.flatnonzero(~self.is_kept)
        bar = tqdm(blocks(missing, BATCH), desc="features", unit=" batches", delay=2, disable=None)
        parts = map_in_threads(lambda rows: (rows, extract(images[rows])[0]), bar, 2 * CORES)
        for rows, features in parts:
            self.keep(rows, features)

    def __len__(self) -> int:
        return len(self.is_kept)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the features of some rows, int [B], as float32 [B, D]."""
        values = np.empty((len(rows), self.width), np.float16)
        for value, row in zip(values, rows.tolist(), strict=True):
            read_array(self.file, row * value.nbytes, value)
        return values.astype(np.float32)


def unit(features: np.ndarray) -> np.ndarray:
    """Scale features, float32 [..., D], to length 1; zero vectors stay as they are."""
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    return features / np.where(lengths, lengths, 1)


def blocks(rows: np.ndarray, size: int = BLOCK) -> list[np.ndarray]:
    """Cut rows, int [N], into blocks of at most `size`."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]
