"""Decode every picture once, and deal the pictures out to train, val and test."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from transfer.dataset import IMAGES, MANIFEST, MANIFEST_COLUMNS, REJECTED
from transfer.errors import UserError
from transfer.files import RAW, SPLIT, list_files, replacing, sha256, write_csv
from transfer.images import write_images
from transfer.params import load_params
from transfer.splits import SPLITS, assign_splits, drop_duplicates, label_pictures
from transfer.stage import run


def main() -> None:
    params = load_params()
    pictures = label_pictures(list_files(RAW))
    with ThreadPoolExecutor() as pool:
        hashes = list(pool.map(sha256, [RAW / picture.path for picture in pictures]))
    kept, rejected = drop_duplicates(pictures, hashes)

    with replacing(SPLIT) as folder:
        folder.mkdir()
        sizes = write_images(
            folder / IMAGES,
            [RAW / pictures[i].path for i in kept],
            params.image_size,
            params.crop_to_aspect_ratio,
        )
        decoded = [(i, size) for i, size in zip(kept, sizes, strict=True) if type(size) is tuple]
        rejected += [
            (pictures[i].path, reason)
            for i, reason in zip(kept, sizes, strict=True)
            if type(reason) is str
        ]
        if lost := {p.label for p in pictures} - {pictures[i].label for i, _ in decoded}:
            reasons = dict(rejected)
            first = next(picture.path for picture in pictures if picture.label in lost)
            raise UserError(
                f"none of the pictures of {', '.join(sorted(lost))} can be used; the first, "
                f"{first}: {reasons[first]}; replace them or remove the class"
            )
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
        write_csv(folder / REJECTED, ("path", "reason"), sorted(rejected))

    report(splits, rejected, SPLIT / REJECTED)


def report(splits: list[str], rejected: list[tuple[str, str]], where: Path) -> None:
    """Print one line, and one more if pictures were rejected."""
    counts = Counter(splits)
    print("split: " + ", ".join(f"{counts[split]:,} {split}" for split in SPLITS) + " pictures")
    if rejected:
        path, reason = sorted(rejected)[0]
        print(f"split: {len(rejected)} rejected, see {where}; the first: {path}: {reason}")


if __name__ == "__main__":
    run(main)
