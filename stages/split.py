"""Decode every picture once, and deal the pictures out to train, val and test."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from transfer.dataset import (
    IMAGES,
    MANIFEST,
    MANIFEST_COLUMNS,
    NEAR_DUPLICATES,
    NEAR_DUPLICATES_COLUMNS,
    REJECTED,
    StoredArray,
)
from transfer.duplicates import near_duplicates, perceptual_hashes
from transfer.errors import printable
from transfer.files import RAW, SPLIT, list_files, replacing, sha256, write_csv
from transfer.images import write_images
from transfer.params import load_params
from transfer.splits import (
    SPLITS,
    UNREADABLE,
    Rejected,
    assign_splits,
    check_rejected,
    drop_duplicates,
    label_pictures,
    summary,
)
from transfer.stage import run

# Beside the folder, which is there only after a success, and moved into it then.
REJECTED_SO_FAR = SPLIT.with_name(REJECTED)


def main() -> None:
    params = load_params()
    pictures = label_pictures(list_files(RAW))
    with ThreadPoolExecutor() as pool:
        hashes = list(pool.map(content, [RAW / picture.path for picture in pictures]))
    kept, rejected = drop_duplicates(pictures, hashes)

    with replacing(SPLIT) as folder:
        folder.mkdir()
        results = write_images(
            folder / IMAGES,
            [RAW / pictures[i].path for i in kept],
            params.image_size,
            params.crop_to_aspect_ratio,
        )
        decoded = [(i, size) for i, size in zip(kept, results, strict=True) if type(size) is tuple]
        rejected += [
            Rejected(pictures[i].path, reason, UNREADABLE)
            for i, reason in zip(kept, results, strict=True)
            if type(reason) is str
        ]
        write_csv(REJECTED_SO_FAR, Rejected._fields, sorted(rejected))
        check_rejected(pictures, rejected, params.max_rejected, REJECTED_SO_FAR)
        splits = assign_splits(
            [pictures[i] for i, _ in decoded],
            params.val_fraction,
            params.test_fraction,
            params.seed,
        )
        rows = [
            (pictures[i].path, pictures[i].label, split, hashes[i], *size)
            for (i, size), split in zip(decoded, splits, strict=True)
        ]
        write_csv(folder / MANIFEST, MANIFEST_COLUMNS, rows)
        near = near_duplicates(perceptual_hashes(StoredArray(folder / IMAGES)), splits)
        pairs = [(rows[a][0], splits[a], rows[b][0], splits[b], bits) for a, b, bits in near]
        write_csv(folder / NEAR_DUPLICATES, NEAR_DUPLICATES_COLUMNS, pairs)
        REJECTED_SO_FAR.replace(folder / REJECTED)

    report(splits, rejected, pairs)


def content(path: Path) -> str:
    """Return the SHA-256 of a file; of one that can't be read its path, as it is like no other."""
    try:
        return sha256(path)
    except OSError:  # the decoder will say why
        return str(path)


def report(splits: Sequence[str], rejected: Sequence[Rejected], pairs: Sequence[tuple]) -> None:
    """Print a line, and more of what was rejected or looks the same in two splits."""
    counts = Counter(splits)
    print("split: " + ", ".join(f"{counts[split]:,} {split}" for split in SPLITS) + " pictures")
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
    run(main)
