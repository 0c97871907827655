"""Decode every picture once, and deal the pictures out to train, val and test."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from transfer.core.errors import printable
from transfer.core.files import RAW, SPLIT, replacing, write_csv
from transfer.core.parallel import AT_A_TIME, map_in_threads
from transfer.core.params import Params, load_params
from transfer.core.stage import run_stage
from transfer.data.dataset import (
    IMAGES,
    MANIFEST,
    MANIFEST_COLUMNS,
    NEAR_DUPLICATES,
    NEAR_DUPLICATES_COLUMNS,
    REJECTED,
    StoredArray,
)
from transfer.data.labels import SPLITS, UNREADABLE, ImageTable, Rejected, label_images, summary
from transfer.data.raw import RawImages, sha256_of
from transfer.preprocessing.decoding import decode_images
from transfer.preprocessing.duplicates import near_duplicates, perceptual_hashes
from transfer.preprocessing.splits import assign_splits, check_rejected, drop_duplicates

# Beside the folder, which is there only after a success, and moved into it then.
REJECTED_SO_FAR = SPLIT.with_name(REJECTED)


def main() -> None:
    params = load_params()
    with replacing(SPLIT) as folder:
        folder.mkdir()
        pictures, hashes, sizes, rejected = decode(folder / IMAGES, params)
        splits = assign_splits(pictures, params.val_fraction, params.test_fraction, params.seed)
        write_csv(folder / MANIFEST, MANIFEST_COLUMNS, manifest(pictures, splits, hashes, sizes))
        near = near_duplicates(perceptual_hashes(StoredArray(folder / IMAGES)), splits)
        pairs = [
            (pictures.paths[a], SPLITS[splits[a]], pictures.paths[b], SPLITS[splits[b]], bits)
            for a, b, bits in near
        ]
        write_csv(folder / NEAR_DUPLICATES, NEAR_DUPLICATES_COLUMNS, pairs)
        REJECTED_SO_FAR.replace(folder / REJECTED)

    report(splits, rejected, pairs)


def decode(
    target: Path, params: Params
) -> tuple[ImageTable, np.ndarray, np.ndarray, list[Rejected]]:
    """Decode the pictures in data/raw into the array `target`, but for those rejected.

    Returns:
        The pictures in the array, their SHA-256, 32 bytes [N], and width and height, int [N, 2];
        and those rejected.

    Raises:
        UserError: Too many were; REJECTED_SO_FAR names them.
    """
    raw = RawImages(RAW)
    pictures = label_images(raw.names)
    hashes = hash_contents(raw, pictures.paths)
    kept, rejected = drop_duplicates(pictures, hashes)
    sizes, reasons = decode_images(
        target,
        [pictures.paths[i] for i in kept],
        params.image_size,
        params.crop_to_aspect_ratio,
        raw.source,
    )
    rejected += [
        Rejected(pictures.paths[kept[place]], reason, UNREADABLE)
        for place, reason in reasons.items()
    ]
    write_csv(REJECTED_SO_FAR, Rejected._fields, sorted(rejected))
    check_rejected(pictures, rejected, params.max_rejected, REJECTED_SO_FAR)
    decoded = np.delete(kept, list(reasons))
    return pictures.at(decoded), hashes[decoded], sizes, rejected


def hash_contents(raw: RawImages, paths: Sequence[str]) -> np.ndarray:
    """Return the SHA-256 of each picture, 32 bytes [N]; of one that can't be read its path's, as it
    is like no other."""

    def content(path: str) -> bytes:
        try:
            return sha256_of(raw.source(path))
        except OSError:  # the decoder will say why
            return hashlib.sha256(os.fsencode(path)).digest()

    return np.fromiter(map_in_threads(content, paths, AT_A_TIME), "S32", len(paths))


def manifest(
    pictures: ImageTable, splits: np.ndarray, hashes: np.ndarray, sizes: np.ndarray
) -> Iterator[tuple]:
    """Yield a row of MANIFEST_COLUMNS a picture."""
    contents = hashes.view(np.uint8).reshape(len(hashes), -1)
    columns = zip(pictures.paths, pictures.labels, splits, contents, sizes, strict=True)
    for path, label, split, content, size in columns:
        yield path, pictures.class_names[label], SPLITS[split], content.tobytes().hex(), *size


def report(splits: np.ndarray, rejected: Sequence[Rejected], pairs: Sequence[tuple]) -> None:
    """Print a line, and more of what was rejected or looks the same in two splits."""
    counts = zip(np.bincount(splits), SPLITS, strict=True)
    print("split: " + ", ".join(f"{count:,} {split}" for count, split in counts) + " pictures")
    for line in summary(rejected):
        print(f"split: rejected {line}")
    if rejected:
        print(f"split: {SPLIT / REJECTED} names them all")
    if pairs:
        path, _, other, *_ = pairs[0]
        line = (
            f"split: pairs that look the same, in two splits: {len(pairs):,}, the first {path} and "
            f"{other}; {SPLIT / NEAR_DUPLICATES} names them all"
        )
        print(printable(line))


if __name__ == "__main__":
    run_stage(main)
