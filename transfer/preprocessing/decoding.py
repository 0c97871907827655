"""Decode images of all usual formats, as a viewer shows them, into square arrays of RGB pixels."""

import contextlib
import logging
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from transfer.core.console import quiet
from transfer.core.errors import one_line, printable
from transfer.core.parallel import map_in_threads
from transfer.data.formats import FORMATS
from transfer.data.raw import ImageFile
from transfer.preprocessing import png  # noqa: F401  (sets up Pillow)
from transfer.preprocessing.samples import has_16_bits, to_rgb

# Pillow refuses images of more than twice as many pixels as decompression bombs: at 4 bytes a
# pixel that is 400 MB.
Image.MAX_IMAGE_PIXELS = 50_000_000
# The limit of JPEG. For a PNG of 40,000,000 x 1 pixels the weights of the resize would take 2 GB.
MAX_SIDE = 65_535
# Ten are usual. A scan can take as long to decode as the whole image, in no more than 141 bytes.
MAX_SCANS = 100
START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", 0xD9
MARKER = re.compile(rb"\xff+([^\x00\xff])")
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Pillow logs to stderr
CHUNK = 256  # images in memory at a time: 20 MB at 160x160
Item = TypeVar("Item")
# Pixels, uint8 [H, W, 3], with width and height before the resize; or None with the reason.
Decoded = tuple[np.ndarray, tuple[int, int]] | tuple[None, str]


def decode_image(
    file: Path | BinaryIO, size: int, crop_to_aspect_ratio: bool
) -> tuple[np.ndarray, tuple[int, int]]:
    """Decode an image and resize it with the Lanczos filter.

    It is rotated as its EXIF data says; of an animation it is the first frame; transparent pixels
    are blended with white.

    Args:
        file: A path, or an open file of the encoded bytes.
        size: Height and width of the result, in pixels.
        crop_to_aspect_ratio: Resize the centre square; otherwise squeeze the whole image.

    Returns:
        uint8 pixels [size, size, 3], and the width and height before the resize.

    Raises:
        Exception: Whatever Pillow raises for bytes that it can't decode.
    """
    rgb = read_rgb(file)
    box = centre_square(*rgb.size) if crop_to_aspect_ratio else None
    resized = rgb.resize((size, size), Image.Resampling.LANCZOS, box)
    return np.asarray(resized), rgb.size


def read_rgb(file: Path | BinaryIO) -> Image.Image:
    """Read an image in its own size, as a viewer shows it: see `decode_image`."""
    with Image.open(file, formats=FORMATS) as image:
        check_cost(image)
        is_deep = has_16_bits(image)
        image.load()
        rotate_upright(image)
        return to_rgb(image, is_deep)


def check_cost(image: Image.Image) -> None:
    """Refuse small files that take much time or memory although their pixels are few.

    Raises:
        ValueError: A side is too long, or a JPEG has too many scans.
    """
    if max(image.size) > MAX_SIDE:
        raise ValueError("{} x {} pixels, a side over {:,}".format(*image.size, MAX_SIDE))
    if image.format in ("JPEG", "MPO"):
        image.fp.seek(0)  # Pillow itself seeks to the pixels later
        scans = count_scans(image.fp.read())
        if scans > MAX_SCANS:
            raise ValueError(f"a JPEG of {scans:,} scans, over {MAX_SCANS}")


def count_scans(jpeg: bytes) -> int:
    """Return an upper bound of the scans in a JPEG; it is exact if it exceeds MAX_SCANS.

    What follows the image, such as the video of a motion photo, and thumbnails do not count.
    """
    scans = jpeg.count(START_OF_SCAN)  # 500 times as fast, and enough for nearly every image
    if scans <= MAX_SCANS:
        return scans
    scans, position = 0, 0
    # Markers are found as libjpeg finds them: fill bytes before them and bytes between them are
    # skipped. Those below 0xC0 and the restarts have no length.
    while marker := MARKER.search(jpeg, position):
        code, position = marker[1][0], marker.end()
        if code == END_OF_IMAGE:
            break
        scans += code == START_OF_SCAN[1]
        if code >= 0xC0 and not 0xD0 <= code <= 0xD8:
            position += int.from_bytes(jpeg[position : position + 2])
    return scans


def rotate_upright(image: Image.Image) -> None:
    """Rotate and mirror an image in place as its EXIF data says; damaged EXIF data is ignored."""
    with contextlib.suppress(SyntaxError, ValueError, TypeError, LookupError, struct.error):
        ImageOps.exif_transpose(image, in_place=True)


def centre_square(width: int, height: int) -> tuple[float, float, float, float]:
    """Return left, upper, right and lower of the largest square in the centre, in pixels."""
    side = min(width, height)
    left, upper = (width - side) / 2, (height - side) / 2
    return left, upper, left + side, upper + side


def decode_images(items: Sequence[Item], decode: Callable[[Item], Decoded]) -> Iterator[Decoded]:
    """Yield what `decode` returns for some items, on all cores, with a progress bar.

    Args:
        items: Names of images, or whatever stands for one.
        decode: Such as `try_decode`.
    """
    with quiet() as stderr:
        bar = tqdm(items, desc="decode", unit=" images", file=stderr, disable=None)
        yield from map_in_threads(decode, bar, CHUNK)


def try_decode(image_file: ImageFile | BinaryIO, size: int, crop_to_aspect_ratio: bool) -> Decoded:
    """Decode an image as `decode_image` does; return None and one line if it can't be decoded.

    Args:
        image_file: How to read the image, or an open file of the encoded bytes.
        size: Height and width of the result, in pixels.
        crop_to_aspect_ratio: Resize the centre square; otherwise squeeze the whole image.
    """
    try:
        file = image_file() if callable(image_file) else image_file
        return decode_image(file, size, crop_to_aspect_ratio)
    except UnidentifiedImageError:
        return None, explain_unidentified(file)
    except Exception as error:  # decoders of broken files raise nearly anything
        # An OSError's own text would begin or end with the path.
        text = getattr(error, "strerror", None) or str(error)
        return None, printable(": ".join(filter(None, (type(error).__name__, text))))


def explain_unidentified(file: Path | BinaryIO) -> str:
    """Return in one line why Pillow could not identify an image.

    Args:
        file: A path, or an open file of the encoded bytes.
    """
    with file.open("rb") if isinstance(file, Path) else file as stream:
        stream.seek(0)
        start = stream.read(16)
        for name in FORMATS:
            opener, accepts = Image.OPEN[name]
            if accepts(start):
                stream.seek(0)
                try:  # Image.open() keeps the reason to itself
                    opener(stream, "")
                except Exception as error:  # of anything, as above
                    return f"a {name} of a kind that is not read: {printable(one_line(error))}"
    return f"cannot identify it as {', '.join(FORMATS)}"
