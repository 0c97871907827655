"""What the frozen layers make of pictures: computed for every batch, or once for a few views.

A view is a picture as one epoch's augmentation shows it; with `views` of them, epoch e trains on
view (e - 1) mod views + 1. Their features are DVC's: folders of float16 arrays
[views * pictures, D], where D is all the tensors of a frontier one after the other.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from transfer.core.errors import UserError
from transfer.core.parallel import CORES, map_in_threads
from transfer.core.runtime import keras
from transfer.data.dataset import Reader, Split, StoredArray, plain_pixels, write_array_header
from transfer.models.features import extract_from_pixels, extract_from_tensors, pooled_base
from transfer.models.folding import between, frontier
from transfer.models.frozen import Inference
from transfer.training.augmentation import Augmentation, augmented_pixels

BATCH = 32


@dataclass(frozen=True)
class Features:
    """Features of both splits and the layers that make something of them.

    live: from the features to the pooled output of the base.
    views: how many of each training picture there are; 0: one for each epoch.
    """

    train: Reader
    val: Reader
    live: keras.Model
    views: int = 0


def compute_features(
    classifier: keras.Model, train: Split, val: Split, augmentation: Augmentation, precision: str
) -> Features:
    """Return features that start from the pictures, augmented anew in every epoch."""
    base = pooled_base(classifier, precision)
    start = frontier(base)
    preprocessing = classifier.get_layer("preprocessing")
    extract = extract_from_pixels(between(base.inputs, start), preprocessing)
    live = between(start, base.outputs)
    return Features(
        _through(extract, augmented_pixels(train, augmentation)),
        _through(extract, plain_pixels(val)),
        live,
    )


def load_features(
    classifier: keras.Model,
    train: Split,
    val: Split,
    folder: Path,
    first_layer: int,
    precision: str,
) -> Features:
    """Return features that start from those that `write_features` wrote.

    Args:
        first_layer: Index of the base's first layer that has no part in them.
    """
    base = pooled_base(classifier, precision)
    names = [layer.name for layer in classifier.get_layer("base").layers]
    stored, start = frontier(base, live=names[first_layer:]), frontier(base)
    shapes = [tensor.shape[1:] for tensor in stored]
    extract = extract_from_tensors(between(stored, start))
    live = between(start, base.outputs)
    of_train, of_val = (StoredArray(folder / f"{name}.npy") for name in ("train", "val"))
    return Features(
        _through(extract, _stored(of_train, len(train.rows), shapes)),
        _through(extract, _stored(of_val, len(val.rows), shapes)),
        live,
        views=len(of_train) // len(train.rows),
    )


def write_features(
    classifier: keras.Model,
    train: Split,
    val: Split,
    augmentation: Augmentation,
    views: int,
    views_at: int,
    most_bytes: float,
    folders: tuple[Path, Path],
) -> None:
    """Write the features of `views` views of the training pictures and of the validation pictures.

    Args:
        classifier: With a frozen base.
        most_bytes: How much may be written.
        folders: For those of the whole base, which a head needs, and for those of the layers below
            `views_at`, to fine-tune from there up.

    Raises:
        UserError: They would take more than `most_bytes`.
    """
    base = pooled_base(classifier, "float32")
    names = [layer.name for layer in classifier.get_layer("base").layers]
    middle = frontier(base, live=names[views_at:])
    outs = dict(zip(folders, (_numbers(base.outputs), _numbers(middle)), strict=True))
    size = 2 * sum(outs.values()) * (views * len(train.rows) + len(val.rows))
    if size > most_bytes:
        raise UserError(
            f"views: the features of {views} views take {size / 1e9:.1f} GB, more than "
            f"views_gb allows, {most_bytes / 1e9:g}; ask for fewer views, allow more, or choose "
            f"a later layer as views_at: below {names[views_at]}, a view has "
            f"{_numbers(middle):,} numbers"
        )
    preprocessing = classifier.get_layer("preprocessing")
    to_middle = extract_from_pixels(between(base.inputs, middle), preprocessing)
    to_end = extract_from_tensors(between(middle, base.outputs))

    def compute(batch: tuple) -> tuple[bytes, bytes]:
        source, places, epoch = batch
        tensors = to_middle(*source(places, epoch))
        return _to_bytes(to_end(*tensors)), _to_bytes(tensors)

    pixels = augmented_pixels(train, augmentation)
    _write(compute, pixels, len(train.rows), views, "train", outs)
    _write(compute, plain_pixels(val), len(val.rows), 1, "val", outs)


def _write(
    compute: Callable, source: Reader, rows: int, views: int, name: str, outs: dict[Path, int]
) -> None:
    """Write the array `name` into each folder of `outs`, which has the arrays' widths."""
    batches = [
        (source, np.arange(start, min(start + BATCH, rows)), epoch)
        for epoch in range(1, views + 1)
        for start in range(0, rows, BATCH)
    ]
    bar = tqdm(batches, desc=f"features of {name}", unit=" batches", disable=None)
    with ExitStack() as stack:
        files = [stack.enter_context((folder / f"{name}.npy").open("wb")) for folder in outs]
        for file, width in zip(files, outs.values(), strict=True):
            write_array_header(file, np.float16, (views * rows, width))
        for parts in map_in_threads(compute, bar, 2 * CORES):
            for file, part in zip(files, parts, strict=True):
                file.write(part)


def _numbers(tensors: list) -> int:
    return sum(int(np.prod(tensor.shape[1:])) for tensor in tensors)


def _through(extract: Inference, source: Reader) -> Reader:
    return lambda places, epoch: tuple(extract(*source(places, epoch)))


def _stored(array: StoredArray, pictures: int, shapes: list[tuple[int, ...]]) -> Reader:
    ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1].astype(int)

    def read(places: np.ndarray, view: int) -> tuple[np.ndarray, ...]:
        flat = array[(view - 1) * pictures + places].astype(np.float32)
        parts = np.split(flat, ends, axis=1)
        return tuple(part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True))

    return read


def _to_bytes(tensors: list[np.ndarray]) -> bytes:
    flat = np.concatenate([tensor.reshape(len(tensor), -1) for tensor in tensors], axis=1)
    return flat.astype(np.float16).tobytes()
