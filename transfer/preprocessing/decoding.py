"""Images of every usual kind, read as people see them, as square arrays of RGB pixels."""

import contextlib
import logging
import struct
from array import array
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE
from tqdm import tqdm

from transfer.core.console import quiet
from transfer.core.errors import printable
from transfer.core.parallel import map_in_threads
from transfer.data.dataset import write_array_header
from transfer.data.raw import ImageFile

# Pillow knows others, too, and would start Ghostscript for an EPS file called .jpg.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
# Of twice as many pixels Pillow says that they are a decompression bomb: 400 MB at 4 bytes each.
Image.MAX_IMAGE_PIXELS = 50_000_000
# A JPEG's own limit. A PNG of 40,000,000 x 1 would take 2 GB for the weights of the resize.
MAX_SIDE = 65_535
# Ten are usual. Each can take as long as the whole picture, and no more than 141 bytes.
MAX_SCANS = 100
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it complains on stderr
CHUNK = 256  # pictures in memory at a time: 20 MB at 160x160


def decode_image(
    source: Path | BinaryIO, size: int, crop_to_aspect_ratio: bool
) -> tuple[np.ndarray, tuple[int, int]]:
    """Decode a picture and resize it with Lanczos' filter.

    Rotated as its EXIF data says, the first frame of an animation, transparent on white.

    Args:
        source: A path, or the bytes as an open file.
        size: Height and width of the result.
        crop_to_aspect_ratio: Resize the centre square; otherwise squeeze the whole picture.

    Returns:
        uint8 pixels [size, size, 3], and the width and height before the resize.

    Raises:
        Exception: Whatever Pillow raises for bytes that it can't decode.
    """
    with Image.open(source, formats=FORMATS) as picture:
        check_cost(picture)
        picture.load()
        rotate_upright(picture)
        rgb = to_rgb(picture)
    box = centre_square(*rgb.size) if crop_to_aspect_ratio else None
    resized = rgb.resize((size, size), Image.Resampling.LANCZOS, box)
    return np.asarray(resized), rgb.size


def check_cost(picture: Image.Image) -> None:
    """Refuse what a small file can do to time and memory beyond the number of its pixels.

    Raises:
        ValueError: A side is too long, or a JPEG has too many scans.
    """
    if max(picture.size) > MAX_SIDE:
        raise ValueError("{} x {} pixels, a side over {:,}".format(*picture.size, MAX_SIDE))
    if picture.format in ("JPEG", "MPO"):
        picture.fp.seek(0)  # Pillow goes back to where the pixels are by itself
        scans = picture.fp.read().count(b"\xff\xda")
        if scans > MAX_SCANS:
            raise ValueError(f"a JPEG of {scans:,} scans, over {MAX_SCANS}")


def rotate_upright(picture: Image.Image) -> None:
    """Rotate and mirror a picture in place as its EXIF data says; damaged, it says nothing."""
    with contextlib.suppress(SyntaxError, ValueError, TypeError, LookupError, struct.error):
        ImageOps.exif_transpose(picture, in_place=True)


def centre_square(width: int, height: int) -> tuple[float, float, float, float]:
    """Return left, upper, right and lower of the largest square in the middle."""
    side = min(width, height)
    left, upper = (width - side) / 2, (height - side) / 2
    return left, upper, left + side, upper + side


def to_rgb(picture: Image.Image) -> Image.Image:
    """Convert any of Pillow's modes to RGB.

    Raises:
        ValueError: 32-bit pixels, whose range no file says.
    """
    if picture.mode.startswith("I;16"):  # convert() would clip to 255, not scale
        (bits,) = getattr(picture, "tag_v2", {}).get(BITSPERSAMPLE, (16,))  # 12 in some TIFFs
        return Image.fromarray((np.asarray(picture) >> bits - 8).astype(np.uint8)).convert("RGB")
    if picture.mode in ("I", "F"):
        raise ValueError(f"32-bit pixels (mode {picture.mode}) are not supported")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def decode_images(
    target: Path,
    names: Sequence[str | Path],
    size: int,
    crop_to_aspect_ratio: bool,
    source_of: Callable[[str], ImageFile] = Path,
) -> tuple[np.ndarray, dict[int, str]]:
    """Decode pictures on all the cores into `target`, one .npy array uint8 [N, size, size, 3].

    Args:
        names: Of the pictures, which `source_of` turns into what they are read from.

    Returns:
        Width and height of the pictures in the array, int [N, 2]. By its place in `names`, why a
        picture could not be decoded; it is not in the array.
    """
    sizes, reasons = array("i"), {}
    decode = partial(try_decode, size=size, crop_to_aspect_ratio=crop_to_aspect_ratio)
    with target.open("wb") as file:
        # Not a memory map: writing to one on a full disk kills the process.
        write_array_header(file, np.uint8, (0, size, size, 3))
        with quiet() as stderr:
            bar = tqdm(names, desc="decode", unit=" pictures", file=stderr, disable=None)
            results = map_in_threads(lambda name: decode(source_of(name)), bar, CHUNK)
            for place, (pixels, result) in enumerate(results):
                if pixels is None:
                    reasons[place] = result
                else:
                    sizes.extend(result)
                    file.write(pixels.tobytes())
        file.seek(0)
        write_array_header(file, np.uint8, (len(names) - len(reasons), size, size, 3))
    return np.array(sizes).reshape(-1, 2), reasons


def try_decode(
    source: ImageFile | BinaryIO, size: int, crop_to_aspect_ratio: bool
) -> tuple[np.ndarray, tuple[int, int]] | tuple[None, str]:
    """Do as `decode_image` does; of what can't be read return None and why, on one line."""
    try:
        return decode_image(source() if callable(source) else source, size, crop_to_aspect_ratio)
    except UnidentifiedImageError:
        return None, f"cannot identify it as {', '.join(FORMATS)}"
    except Exception as error:  # decoders of broken files raise nearly anything
        # Without the path, which an OSError's own words begin or end with.
        words = getattr(error, "strerror", None) or str(error)
        return None, printable(": ".join(filter(None, (type(error).__name__, words))))
