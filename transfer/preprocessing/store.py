"""Write the pixels of all images, and take those that an earlier run has decoded from there."""

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import numpy as np

from transfer.core.errors import UserError
from transfer.core.files import hash_of, read_csv, read_json, sha256
from transfer.data.dataset import IMAGES, MANIFEST
from transfer.data.shards import StoredImages, cut, keys_of, write_shard
from transfer.preprocessing.decoding import Decoded, decode_images

MADE_BY = "made_by.json"  # tells whether the pixels of an earlier run are those of this one
CODE = ("decoding.py", "png.py", "samples.py")


def made_by(size: int, crop_to_aspect_ratio: bool) -> dict[str, object]:
    """Return all that the pixels of an image depend on, besides the image."""
    code = [sha256(Path(__file__).with_name(name)) for name in CODE]
    return {
        "image_size": size,
        "crop_to_aspect_ratio": crop_to_aspect_ratio,
        "code": hash_of(code)[:16],
        "pillow": version("pillow"),
    }


class EarlierRun:
    """The pixels that an earlier run of the stage has written."""

    def __init__(self, folder: Path, made: dict[str, object]) -> None:
        """Open them; if they are missing, damaged, or were made in another way, there are none.

        Args:
            folder: What the stage wrote.
            made: What `made_by` returns for this run.
        """
        self.rows: dict[str, int] = {}  # by the SHA-256 of the image
        try:
            if read_json(folder / MADE_BY) == made:
                manifest = read_csv(folder / MANIFEST)
                hashes = [row["sha256"] for row in manifest]
                self.images = StoredImages(folder / IMAGES, keys_of(hashes))
                self.sizes = [(int(row["width"]), int(row["height"])) for row in manifest]
                self.rows = {text: row for row, text in enumerate(hashes)}
        except (OSError, UserError, KeyError, ValueError):
            pass

    def find(self, content_hash: str) -> Decoded | None:
        """Return the pixels of an image and its size before the resize, or None."""
        row = self.rows.get(content_hash)
        pixels = None if row is None else self._shard(int(self.images.shard_of[row]))
        return None if pixels is None else (pixels[self.images.place[row]], self.sizes[row])

    def take(self, hashes: list[str], bits: str, folder: Path) -> list[tuple[int, int]] | None:
        """Link a whole shard into another folder, if it holds the same images.

        Args:
            hashes: SHA-256 of the images, in their order in the shard.
            bits: Of the shard.
            folder: Of the new shards.

        Returns:
            The sizes of the images before the resize; None: there is no such shard.
        """
        rows = [self.rows.get(text) for text in hashes]
        if None in rows:
            return None
        number = int(self.images.shard_of[rows[0]])
        name, count = self.images.names[number], self.images.counts[number]
        same = (self.images.shard_of[rows] == number).all() and count == len(rows)
        if not same or name.split("-")[0] != bits or self._shard(number) is None:
            return None
        source, target = self.images.folder / name, folder / name
        try:
            os.link(source, target)  # nobody writes into a shard
        except OSError:  # the file system has no hard links
            shutil.copyfile(source, target)
        return [self.sizes[row] for row in rows]

    def _shard(self, number: int) -> np.ndarray | None:
        try:
            return self.images.shard(number)
        except (OSError, UserError):
            return None


def store_images(
    folder: Path,
    paths: Sequence[str],
    hashes: Sequence[str],
    decode: Callable[[str], Decoded],
    earlier: EarlierRun,
) -> tuple[np.ndarray, dict[int, str], int]:
    """Write the pixels of images into the shards of a new folder.

    Args:
        folder: The folder to make.
        paths: Of the images, N.
        hashes: SHA-256 of their contents, hex digits, N.
        decode: Called with the path of each image whose pixels are not known.
        earlier: Where pixels may be known.

    Returns:
        Width and height of the images, int [N, 2]; the reason why an image could not be decoded,
        by its index; and how many had been decoded before.
    """
    folder.mkdir()
    sizes, reasons, shards, decoded = np.zeros((len(paths), 2), int), {}, [], []
    for shard in cut(keys_of(hashes)):
        found = earlier.take([hashes[i] for i in shard.indices], shard.bits, folder)
        if found is None:
            shards.append(shard)
        else:
            sizes[shard.indices] = found

    def pixels_of(index: int) -> Decoded:
        if found := earlier.find(hashes[index]):
            return found
        decoded.append(index)
        return decode(paths[index])

    images = [index for shard in shards for index in shard.indices.tolist()]
    with closing(decode_images(images, pixels_of)) as results:
        for bits, indices in shards:
            pixels = []
            for index in indices.tolist():
                image, result = next(results)
                if image is None:
                    reasons[index] = result
                else:
                    sizes[index] = result
                    pixels.append(image)
            if pixels:
                write_shard(folder, bits, np.stack(pixels))
    return sizes, reasons, len(paths) - len(decoded)
