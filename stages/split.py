"""Decode every image once, and split the images into train, val and test."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from transfer.core.errors import printable
from transfer.core.files import RAW, SPLIT, replacing, write_csv
from transfer.core.parallel import AT_A_TIME, map_in_threads
from transfer.core.params import Params
from transfer.core.params_file import load_params
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
from transfer.preprocessing.groups import check_given_splits, join_groups, name_groups
from transfer.preprocessing.splits import assign_splits, check_rejected, drop_duplicates

# Beside the folder, which exists only after a success; then it is moved inside.
REJECTED_SO_FAR = SPLIT.with_name(REJECTED)


def main() -> None:
    params = load_params()
    with replacing(SPLIT) as folder:
        folder.mkdir()
        table, hashes, sizes, rejected = decode(folder / IMAGES, params)
        looks = perceptual_hashes(StoredArray(folder / IMAGES))
        names = name_groups(table.paths, {}, params.group_pattern)
        check_given_splits(table, names)
        alike = params.near_duplicates == "together"
        pairs = near_duplicates(looks, range(len(looks))) if alike else []
        groups = join_groups(names, [pair[:2] for pair in pairs])
        splits = assign_splits(
            table, groups, params.val_fraction, params.test_fraction, params.seed
        )
        rows = manifest(table, splits, hashes, sizes, names)
        write_csv(folder / MANIFEST, MANIFEST_COLUMNS, rows)
        near = near_duplicates(looks, splits)
        pairs = [
            (table.paths[a], SPLITS[splits[a]], table.paths[b], SPLITS[splits[b]], distance)
            for a, b, distance in near
        ]
        write_csv(folder / NEAR_DUPLICATES, NEAR_DUPLICATES_COLUMNS, pairs)
        REJECTED_SO_FAR.replace(folder / REJECTED)

    report(splits, rejected, pairs)


def decode(
    target: Path, params: Params
) -> tuple[ImageTable, np.ndarray, np.ndarray, list[Rejected]]:
    """Decode the images in data/raw, except those rejected, into the array `target`.

    Args:
        target: Where to write the array.
        params: All parameters.

    Returns:
        The images in the array; their SHA-256, 32 bytes [N]; their width and height, int [N, 2];
        and the images rejected.

    Raises:
        UserError: Too many images were rejected; REJECTED_SO_FAR lists them.
    """
    raw = RawImages(RAW)
    table = label_images(raw.names)
    hashes = hash_contents(raw, table.paths)
    kept, rejected = drop_duplicates(table, hashes)
    sizes, reasons = decode_images(
        target,
        [table.paths[i] for i in kept],
        params.image_size,
        params.crop_to_aspect_ratio,
        raw.image_file,
    )
    rejected += [
        Rejected(table.paths[kept[index]], reason, UNREADABLE) for index, reason in reasons.items()
    ]
    write_csv(REJECTED_SO_FAR, Rejected._fields, sorted(rejected))
    check_rejected(table, rejected, params.max_rejected, REJECTED_SO_FAR)
    decoded = np.delete(kept, list(reasons))
    return table.at(decoded), hashes[decoded], sizes, rejected


def hash_contents(raw: RawImages, paths: Sequence[str]) -> np.ndarray:
    """Return the SHA-256 of each image, 32 bytes [N].

    For an image that can't be read it is the SHA-256 of its path, which equals no other.
    """

    def content_hash(path: str) -> bytes:
        try:
            return sha256_of(raw.image_file(path))
        except OSError:  # the decoder will report why
            return hashlib.sha256(os.fsencode(path)).digest()

    return np.fromiter(map_in_threads(content_hash, paths, AT_A_TIME), "S32", len(paths))


def manifest(
    table: ImageTable,
    splits: np.ndarray,
    hashes: np.ndarray,
    sizes: np.ndarray,
    groups: Sequence[str],
) -> Iterator[tuple]:
    """Yield a row of MANIFEST_COLUMNS for each image.

    Args:
        table: N images.
        splits: Indices into SPLITS, int [N].
        hashes: SHA-256 of the files, 32 bytes [N].
        sizes: Width and height, int [N, 2].
        groups: Names, N.
    """
    contents = hashes.view(np.uint8).reshape(len(hashes), -1)
    columns = zip(table.paths, table.labels, splits, contents, sizes, groups, strict=True)
    for path, label, split, content, size, group in columns:
        name, sha256 = table.class_names[label], content.tobytes().hex()
        yield path, name, SPLITS[split], sha256, *size, group


def report(splits: np.ndarray, rejected: Sequence[Rejected], pairs: Sequence[tuple]) -> None:
    """Print the sizes of the splits, what was rejected and what looks the same in two splits."""
    counts = zip(np.bincount(splits), SPLITS, strict=True)
    print("split: " + ", ".join(f"{count:,} {split}" for count, split in counts) + " images")
    for line in summary(rejected):
        print(f"split: rejected {line}")
    if rejected:
        print(f"split: {SPLIT / REJECTED} lists them all")
    if pairs:
        path, _, other, *_ = pairs[0]
        line = (
            f"split: pairs that look the same, in two splits: {len(pairs):,}, the first {path} and "
            f"{other}; {SPLIT / NEAR_DUPLICATES} lists them all"
        )
        print(printable(line))


if __name__ == "__main__":
    run_stage(main)
