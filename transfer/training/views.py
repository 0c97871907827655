"""The frozen features of a few augmented views of each image, stored once for cheap sweeps.

A view is an image as one epoch's augmentation shows it; with `views` of them, epoch e trains on
view (e - 1) mod views + 1. The features lie in the user's cache, in a folder named by a hash of all
that they depend on, so that every experiment and every queue worker of the machine shares them:
float16 arrays [views * images, D], where D counts the numbers of all tensors of a frontier.
"""

import hashlib
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from transfer.core.errors import UserError
from transfer.core.files import (
    KEPT_SECONDS,
    cache_folder,
    files_of,
    hash_of,
    replacing,
    sha256,
)
from transfer.core.parallel import CORES, map_in_threads
from transfer.core.runtime import keras
from transfer.data.arrays import StoredArray, write_array_header
from transfer.data.dataset import Reader, Split, plain_pixels
from transfer.models.features import extract_from_pixels, extract_from_tensors, pooled_base
from transfer.models.folding import between, count_numbers, frontier
from transfer.models.inference import FROZEN_RUNTIME
from transfer.training.augmentation import Augmentation, augmented_pixels
from transfer.training.features import Features, through
from transfer.training.resume import library_versions

BATCH = 32  # images
NAMES = ("train", "val")
ROOMS = Path(__file__).parents[1]
CODE = ("data", "models", "training/augmentation.py", "training/operations.py", "training/views.py")
# Black, red, green and blue tell all that preprocessing does: it is affine.
PROBE = np.vstack([np.zeros(3), 255 * np.eye(3)]).astype(np.uint8)[None, None]


def stored_features(
    classifier: keras.Model,
    splits: tuple[Split, Split],
    augmentation: Augmentation,
    views: int,
    first_layer: int,
    max_bytes: float,
    precision: str,
) -> Features:
    """Return features that start from stored ones; compute and store these if they are missing.

    Args:
        classifier: Its base is frozen below `first_layer`.
        splits: The training images, of which `views` views are stored, and the validation images,
            which are stored as they are.
        augmentation: What makes the views.
        views: How many there are of each training image.
        first_layer: Index of the base's first layer that has no part in the stored features.
        max_bytes: Most that all stored features may take; those used least recently are removed.
        precision: Of what is computed from them, as for `fold`.

    Raises:
        UserError: These features alone would take more than `max_bytes`.
    """
    later = [layer.name for layer in classifier.get_layer("base").layers][first_layer:]
    base = pooled_base(classifier, precision, to_train=True)
    stored, start = frontier(base, live=later), frontier(base)
    folder = _folder(classifier, splits, augmentation, views, later)
    with FileLock(_lock(folder)):  # another worker may be storing the same
        arrays = _open(folder)
        if not arrays:
            shutil.rmtree(folder, ignore_errors=True)
            size = _check_size(splits, views, stored, max_bytes, later)
            _make_room(folder.parent, max_bytes - size)
            _store(classifier, splits, augmentation, views, later, folder)
            arrays = _open(folder)
        os.utime(folder)
    extract = extract_from_tensors(between(stored, start))
    shapes = [tensor.shape[1:] for tensor in stored]
    train, val = (
        through(extract, _reader(array, len(split.rows), shapes))
        for array, split in zip(arrays, splits, strict=True)
    )
    return Features(train, val, between(start, base.outputs), views)


def _folder(
    classifier: keras.Model,
    splits: tuple[Split, Split],
    augmentation: Augmentation,
    views: int,
    later: list[str],
) -> Path:
    """Return the folder of the features, named by a hash of all that they depend on."""
    base = classifier.get_layer("base")
    names = [layer.name for layer in base.layers[1:]]  # Keras numbers the inputs of all models
    below = base.layers[: len(base.layers) - len(later)]
    weights = hashlib.sha256(b"".join(w.tobytes() for x in below for w in x.get_weights()))
    colours = keras.ops.convert_to_numpy(classifier.get_layer("preprocessing")(PROBE))
    parts = {
        "images": [split.images.digest() for split in splits],
        "rows": [hashlib.sha256(split.rows.tobytes()).hexdigest() for split in splits],
        "augmentation": repr(augmentation),
        "views": views,
        "preprocessing": colours.tolist(),
        "base": [weights.hexdigest(), names, base.input_shape],
        "first_layer": later[:1],
        "code": [sha256(file) for part in CODE for file in files_of(ROOMS / part)],
        "libraries": library_versions(),
        "runtime": FROZEN_RUNTIME,
    }
    return cache_folder() / "views" / hash_of(parts)[:16]


def _open(folder: Path) -> list[StoredArray]:
    """Return the arrays in a folder of features; none if it is missing or damaged."""
    try:
        return [StoredArray(folder / f"{name}.npy") for name in NAMES]
    except (FileNotFoundError, UserError):
        return []


def _lock(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    name = folder.name.removeprefix(".partial-")  # of a folder that `replacing` has not finished
    return folder.with_name(f"{name}.lock")


def _check_size(
    splits: tuple[Split, Split],
    views: int,
    stored: list[keras.KerasTensor],
    max_bytes: float,
    later: list[str],
) -> int:
    """Return the size of the features in bytes.

    Raises:
        UserError: It is over `max_bytes`.
    """
    train, val = splits
    width = count_numbers(stored)
    size = 2 * width * (views * len(train.rows) + len(val.rows))
    if size > max_bytes:
        raise UserError(
            f"views: the features of {views} views take {size / 1e9:.1f} GB, more than "
            f"views_gb allows, {max_bytes / 1e9:g}; ask for fewer views, allow more, or choose "
            f"a later layer as views_at: below {later[0] if later else 'the head'}, a view has "
            f"{width:,} numbers"
        )
    return size


def _make_room(folder: Path, max_bytes: float) -> None:
    """Remove the features used least recently until `max_bytes` are left, and any after a month."""
    entries = sorted(
        (path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime
    )
    sizes = [sum(file.stat().st_size for file in entry.iterdir()) for entry in entries]
    left = sum(sizes)
    for entry, size in zip(entries, sizes, strict=True):
        if left > max_bytes or time.time() - entry.stat().st_mtime > KEPT_SECONDS:
            # Not those that a worker is storing or opening; open files stay readable.
            with suppress(Timeout), FileLock(_lock(entry), timeout=0):
                shutil.rmtree(entry, ignore_errors=True)
                left -= size


def _store(
    classifier: keras.Model,
    splits: tuple[Split, Split],
    augmentation: Augmentation,
    views: int,
    later: list[str],
    folder: Path,
) -> None:
    """Write the features of all views to a new folder, whole or not at all."""
    started = time.monotonic()
    base = pooled_base(classifier, "float32")
    stored = frontier(base, live=later)
    preprocessing = classifier.get_layer("preprocessing")
    extract = extract_from_pixels(between(base.inputs, stored), preprocessing)
    train, val = splits
    with replacing(folder) as temporary:
        temporary.mkdir()
        pixels = augmented_pixels(train, augmentation)
        width = count_numbers(stored)
        _write(temporary / "train.npy", through(extract, pixels), len(train.rows), views, width)
        _write(temporary / "val.npy", through(extract, plain_pixels(val)), len(val.rows), 1, width)
        size = sum(file.stat().st_size for file in temporary.iterdir())
    print(
        f"views: stored the features of {views} views of {len(train.rows):,} images, "
        f"{size / 1e9:.2f} GB, {time.monotonic() - started:.0f} s"
    )


def _write(path: Path, read: Reader, rows: int, views: int, width: int) -> None:
    batches = [
        (np.arange(start, min(start + BATCH, rows)), view)
        for view in range(1, views + 1)
        for start in range(0, rows, BATCH)
    ]
    bar = tqdm(batches, desc=f"features of {path.stem}", unit=" batches", disable=None)
    with path.open("wb") as file:
        write_array_header(file, np.float16, (views * rows, width))
        for tensors in map_in_threads(lambda batch: read(*batch), bar, 2 * CORES):
            flat = [tensor.reshape(len(tensor), -1) for tensor in tensors]
            file.write(np.concatenate(flat, axis=1).astype(np.float16).tobytes())


def _reader(array: StoredArray, image_count: int, shapes: list[tuple[int, ...]]) -> Reader:
    """Return a function that reads stored features and cuts them into tensors again."""
    ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1].astype(int)

    def read(indices: np.ndarray, view: int) -> tuple[np.ndarray, ...]:
        flat = array[(view - 1) * image_count + indices].astype(np.float32)
        parts = np.split(flat, ends, axis=1)
        return tuple(part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True))

    return read
