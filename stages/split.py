"""Decode every image once, and split the images into train, val and test."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from transfer.core.errors import printable
from transfer.core.files import (
    CORRECTIONS,
    GROUPS,
    LEFT_OUT,
    RAW,
    SPLIT,
    read_csv,
    replacing,
    write_csv,
    write_json,
)
from transfer.core.parallel import AT_A_TIME, map_in_threads
from transfer.core.params import Params
from transfer.core.params_file import load_params
from transfer.core.stage import run_stage
from transfer.data.dataset import (
    CORRECTED,
    CORRECTED_COLUMNS,
    IMAGES,
    MANIFEST,
    MANIFEST_COLUMNS,
    NEAR_DUPLICATES,
    NEAR_DUPLICATES_COLUMNS,
    REJECTED,
)
from transfer.data.labels import (
    EXCLUDED,
    SPLITS,
    UNREADABLE,
    ImageTable,
    Rejected,
    label_images,
    summary,
)
from transfer.data.raw import RawImages, sha256_of
from transfer.data.shards import StoredImages, keys_of
from transfer.preprocessing.corrections import Corrected, apply_corrections, read_corrections
from transfer.preprocessing.decoding import try_decode
from transfer.preprocessing.duplicates import near_duplicates, perceptual_hashes
from transfer.preprocessing.groups import check_given_splits, join_groups, name_groups
from transfer.preprocessing.splits import (
    assign_corrected,
    assign_splits,
    check_rejected,
    drop_duplicates,
)
from transfer.preprocessing.stable import assign_stably
from transfer.preprocessing.store import MADE_BY, EarlierRun, made_by, store_images

# Beside the folder, which exists only after a success; then it is moved inside.
REJECTED_SO_FAR = SPLIT.with_name(REJECTED)


def main() -> None:
    params = load_params()
    corrections = read_corrections(CORRECTIONS)
    raw = RawImages(RAW)
    given = label_images(raw.names)
    in_table = {row["path"]: row["group"] for row in read_csv(GROUPS)} if GROUPS.exists() else {}
    names = name_groups(given.paths, in_table, params.group_pattern)
    check_given_splits(given, names)
    hashes = hash_contents(raw, given.paths)
    corrected = apply_corrections(corrections, given, hashes)
    with replacing(SPLIT) as folder:
        folder.mkdir()
        used, excluded, sizes, rejected, known = decode(folder, raw, corrected, hashes, params)
        contents = hex_digits(hashes[used])
        looks = perceptual_hashes(StoredImages(folder / IMAGES, keys_of(contents)))
        together = params.near_duplicates == "together"
        # As if each image were a split of its own, so that all pairs are found.
        alike = [used[[a, b]] for a, b, _ in near_duplicates(looks, used)] if together else []
        groups = join_groups(names, alike)
        assign = partial(assign_rows, given, groups, names, hashes, params)
        splits = assign_corrected(given, corrected, groups, used, excluded, assign)
        table, split_of = corrected.table.at(used), splits[used]
        rows = manifest(table, split_of, contents, sizes, [names[i] for i in used])
        write_csv(folder / MANIFEST, MANIFEST_COLUMNS, rows)
        changes = corrected.changes(splits, used, excluded)
        write_csv(folder / CORRECTED, CORRECTED_COLUMNS, changes)
        pairs = [
            (table.paths[a], SPLITS[split_of[a]], table.paths[b], SPLITS[split_of[b]], distance)
            for a, b, distance in near_duplicates(looks, split_of)
        ]
        write_csv(folder / NEAR_DUPLICATES, NEAR_DUPLICATES_COLUMNS, pairs)
        REJECTED_SO_FAR.replace(folder / REJECTED)

    report(split_of, known, rejected, pairs)
    for line in corrected.summary(changes):
        print(f"split: {line}")


def decode(
    folder: Path, raw: RawImages, corrected: Corrected, hashes: np.ndarray, params: Params
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Rejected], int]:
    """Decode the images in data/raw, except those rejected, into shards.

    Args:
        folder: What the stage writes, where the shards are made.
        raw: The images in data/raw.
        corrected: All of them with their labels.
        hashes: SHA-256 of their contents, 32 bytes [N].
        params: All parameters.

    Returns:
        The indices of the images in the shards, int [K]; those of the images that could be decoded
        but are excluded, int [L]; width and height of those in the shards, int [K, 2]; the images
        rejected, without what the stage `download` left out and has told already; and the number of
        images that an earlier run has decoded.

    Raises:
        UserError: Too many images were rejected; REJECTED_SO_FAR lists them.
    """
    table, size, crop = corrected.table, params.image_size, params.crop_to_aspect_ratio
    made = made_by(size, crop)
    write_json(folder / MADE_BY, made)
    kept, rejected = drop_duplicates(table, hashes)
    is_excluded = np.isin(kept, [*corrected.excluded])
    kept, excluded = kept[~is_excluded], kept[is_excluded].tolist()
    paths = [table.paths[i] for i in kept]
    sizes, reasons, known = store_images(
        folder / IMAGES,
        paths,
        hex_digits(hashes[kept]),
        lambda path: try_decode(raw.image_file(path), size, crop),
        EarlierRun(SPLIT, made),
    )
    rejected += [Rejected(paths[index], reason, UNREADABLE) for index, reason in reasons.items()]
    rejected += [Rejected(table.paths[i], corrected.excluded[i], EXCLUDED) for i in excluded]
    left_out = [Rejected(**row) for row in read_csv(LEFT_OUT)] if LEFT_OUT.exists() else []
    write_csv(REJECTED_SO_FAR, Rejected._fields, sorted(rejected + left_out))
    check_rejected(table, rejected, params.max_rejected, REJECTED_SO_FAR)
    files = [raw.image_file(table.paths[i]) for i in excluded]
    readable = [try_decode(file, size, crop)[0] is not None for file in files]
    used = np.delete(kept, [*reasons])
    sizes = np.delete(sizes, [*reasons], axis=0)
    return used, np.array(excluded, int)[readable], sizes, rejected, known


def assign_rows(
    given: ImageTable,
    groups: np.ndarray,
    names: Sequence[str],
    hashes: np.ndarray,
    params: Params,
    rows: np.ndarray,
) -> np.ndarray:
    """Return the splits of some images, int [K].

    Args:
        given: All images as they are given, N.
        groups: Codes of their groups, int [N].
        names: Of their groups, N; empty for an image of no group.
        hashes: SHA-256 of their contents, 32 bytes [N].
        params: All parameters.
        rows: Indices of the images, int [K].
    """
    shares = params.val_fraction, params.test_fraction, params.seed
    if not params.stable_splits:
        return assign_splits(given.at(rows), groups[rows], *shares)
    contents = hex_digits(hashes[rows])
    keys = [names[row] or content for row, content in zip(rows, contents, strict=True)]
    return assign_stably(given.at(rows), groups[rows], keys, *shares)


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


def hex_digits(hashes: np.ndarray) -> list[str]:
    """Return hashes of 32 bytes, [N], as hex digits."""
    rows = hashes.view(np.uint8).reshape(len(hashes), -1)
    return [row.tobytes().hex() for row in rows]


def manifest(
    table: ImageTable,
    splits: np.ndarray,
    contents: Sequence[str],
    sizes: np.ndarray,
    groups: Sequence[str],
) -> Iterator[tuple]:
    """Yield a row of MANIFEST_COLUMNS for each image.

    Args:
        table: N images.
        splits: Indices into SPLITS, int [N].
        contents: SHA-256 of the files, hex digits, N.
        sizes: Width and height, int [N, 2].
        groups: Names, N.
    """
    columns = zip(table.paths, table.labels, splits, contents, sizes, groups, strict=True)
    for path, label, split, content, size, group in columns:
        yield path, table.class_names[label], SPLITS[split], content, *size, group


def report(
    splits: np.ndarray, known: int, rejected: Sequence[Rejected], pairs: Sequence[tuple]
) -> None:
    """Print the sizes of the splits, what was rejected and what looks the same in two splits."""
    counts = zip(np.bincount(splits), SPLITS, strict=True)
    sizes = ", ".join(f"{count:,} {split}" for count, split in counts)
    print(f"split: {sizes} images" + (f"; {known:,} had been decoded before" if known else ""))
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
