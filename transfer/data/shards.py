"""Many images in few files, of which a set that grows by some images changes only a few.

A shard holds the images whose hashes begin with the same bits: as many bits as leave few enough
images in it. So an image that is added changes the one shard that its hash belongs to, and nothing
else decides which one that is.
"""

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from transfer.core.errors import UserError
from transfer.core.files import hash_of
from transfer.data.arrays import StoredArray, read_array

# A shard holds up to IMAGES, of a set of up to OF. Of 20,000 images, 100 more change 2.9 % of the
# bytes. DVC takes as long for each file, so that for a large set it is better if shards hold more:
# twice as many whenever the set has doubled.
IMAGES, OF = 6, 1 << 15
BITS = 64  # of a hash that are looked at


class Shard(NamedTuple):
    """The images of a shard.

    bits: That their hashes begin with, as text; empty if there is a single shard.
    indices: Of the images, int [K], by their hashes.
    """

    bits: str
    indices: np.ndarray


def key_of(content_hash: str) -> int:
    """Return the first BITS bits of a hash, hex digits, as a number."""
    return int(content_hash[: BITS // 4], 16)


def keys_of(hashes: Sequence[str]) -> np.ndarray:
    """Return what `key_of` returns for hashes, uint64 [N]."""
    return np.fromiter(map(key_of, hashes), np.uint64, len(hashes))


def cut(keys: np.ndarray) -> list[Shard]:
    """Return the shards of some images, by their bits.

    Args:
        keys: What `keys_of` returned, uint64 [N].
    """
    most = IMAGES << max(0, (len(keys) - 1) // OF).bit_length()
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    shards, ranges = [], [(0, len(keys), "")]
    while ranges:
        start, end, bits = ranges.pop()
        if end - start <= most or len(bits) == BITS:
            if end > start:
                shards.append(Shard(bits, order[start:end]))
            continue
        first_of_upper = int((bits + "1").ljust(BITS, "0"), 2)
        middle = start + int(np.searchsorted(ordered[start:end], np.uint64(first_of_upper)))
        ranges += [(middle, end, bits + "1"), (start, middle, bits + "0")]
    return shards


def write_shard(folder: Path, bits: str, pixels: np.ndarray) -> None:
    """Write a shard as a .npy file that is named by its bits and by its content.

    Args:
        folder: Where to write it.
        bits: Of the shard.
        pixels: uint8 [K, H, W, 3], by the hashes of the images.
    """
    array = io.BytesIO()
    np.save(array, pixels)
    # Path.write_bytes says on a full disk that it is full; np.save does not.
    (folder / f"{bits}-{content_hash(pixels)}.npy").write_bytes(array.getvalue())


def content_hash(pixels: np.ndarray) -> str:
    """Return the part of a shard's name that tells its content."""
    return hashlib.sha256(pixels).hexdigest()[:16]


class StoredImages:
    """The pixels of images in shards, uint8 [N, H, W, 3], which are read on demand.

    A file is opened for each image: threads do not wait for each other, and few files are open.
    """

    def __init__(self, folder: Path, keys: np.ndarray) -> None:
        """Find the shard of each image.

        Args:
            folder: Of the shards.
            keys: What `keys_of` returned for the SHA-256 of the images' files, uint64 [N].

        Raises:
            UserError: An image has no shard, or a shard is damaged.
        """
        self.folder = folder
        self.names = sorted(path.name for path in folder.glob("*.npy"))
        bits = [name.split("-")[0] for name in self.names]
        # No shard's bits are the beginning of another's, so they have the order of their images.
        lowest, highest = (
            np.array([int("0" + text.ljust(BITS, digit), 2) for text in bits], np.uint64)
            for digit in "01"
        )
        self.shard_of = np.searchsorted(lowest, keys, side="right") - 1
        self.counts = np.bincount(self.shard_of[self.shard_of >= 0], minlength=len(bits))
        is_outside = (self.shard_of < 0) | (keys > highest[self.shard_of]) if bits else True
        if np.any(is_outside) or not self.counts.all():
            raise UserError(_damaged(folder, "its shards are not those of the images"))
        order = np.lexsort((keys, self.shard_of))
        starts = np.cumsum(self.counts) - self.counts
        self.place = np.empty(len(keys), int)  # in its shard
        self.place[order] = np.arange(len(keys)) - np.repeat(starts, self.counts)
        first = StoredArray(folder / self.names[0])
        self.dtype, self.shape, self.start = first.dtype, (len(keys), *first.shape[1:]), first.start

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return some images in new memory; several threads may read at once.

        Args:
            rows: Indices of the images, int [B].

        Raises:
            UserError: A shard is missing or damaged.
        """
        images = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for image, row in zip(images, rows, strict=True):
            self._read(self.shard_of[row], self.place[row], image)
        return images

    def _read(self, shard: int, place: int, image: np.ndarray) -> None:
        path = self.folder / self.names[shard]
        size = self.start + int(self.counts[shard]) * image.nbytes
        try:
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise UserError(_damaged(path, "it is missing")) from None
        try:
            is_whole = os.fstat(file).st_size == size
            if not is_whole or not read_array(file, self.start + place * image.nbytes, image):
                raise UserError(_damaged(path, f"expected {size} bytes"))
        finally:
            os.close(file)

    def shard(self, number: int) -> np.ndarray | None:
        """Return the images of a shard, uint8 [K, H, W, 3]; None if it is not named by them."""
        stored = StoredArray(self.folder / self.names[number])
        pixels = stored[np.arange(len(stored))]
        is_whole = len(pixels) == self.counts[number]
        return pixels if is_whole and f"-{content_hash(pixels)}." in self.names[number] else None

    def digest(self) -> str:
        """Return a hash of all pixels, and of which image is where."""
        return hash_of([self.names, self.shard_of.tolist(), self.place.tolist()])


def _damaged(path: Path, reason: str) -> str:
    return f"{path} is damaged: {reason}; dvc repro makes it again"
