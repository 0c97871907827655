"""Pictures of every usual kind, read as people see them, as square arrays of RGB pixels."""

import warnings
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from transfer.dataset import write_array_header
from transfer.parallel import map_in_threads

# A larger picture is a decompression bomb or needs no more than its thumbnail here.
Image.MAX_IMAGE_PIXELS = 100_000_000
warnings.simplefilter("error", Image.DecompressionBombWarning)
CHUNK = 256  # pictures in memory at a time: 20 MB at 160x160


def read_picture(
    path: Path, size: int, crop_to_aspect_ratio: bool
) -> tuple[np.ndarray, tuple[int, int]]:
    """Decode a picture and resize it with Lanczos' filter.

    Rotated as its EXIF data says, the first frame of an animation, transparent on white.

    Args:
        size: Height and width of the result.
        crop_to_aspect_ratio: Resize the centre square; otherwise squeeze the whole picture.

    Returns:
        uint8 pixels [size, size, 3], and the width and height before the resize.

    Raises:
        Exception: Whatever Pillow raises for bytes that it can't decode.
    """
    with Image.open(path) as picture:
        rgb = to_rgb(ImageOps.exif_transpose(picture))
    box = centre_square(*rgb.size) if crop_to_aspect_ratio else None
    resized = rgb.resize((size, size), Image.Resampling.LANCZOS, box)
    return np.asarray(resized), rgb.size


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
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
    if picture.mode in ("I", "F"):
        raise ValueError(f"32-bit pixels (mode {picture.mode}) are not supported")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return picture.convert("RGB")


def write_images(
    target: Path, paths: Iterable[Path], size: int, crop_to_aspect_ratio: bool
) -> list[tuple[int, int] | str]:
    """Decode pictures on all the cores into `target`, one .npy array uint8 [N, size, size, 3].

    Returns:
        For each path, width and height of the picture, or why it could not be decoded: then it has
        no row in the array.
    """
    results = []
    with target.open("wb") as file:
        # Not a memory map: writing to one on a full disk kills the process.
        write_array_header(file, np.uint8, (0, size, size, 3))
        decode = partial(_try_to_read, size=size, crop_to_aspect_ratio=crop_to_aspect_ratio)
        paths = tqdm(paths, desc="decode", unit=" pictures", disable=None)
        for pixels, result in map_in_threads(decode, paths, CHUNK):
            results.append(result)
            if pixels is not None:
                file.write(pixels.tobytes())
        file.seek(0)
        pictures = sum(not isinstance(result, str) for result in results)
        write_array_header(file, np.uint8, (pictures, size, size, 3))
    return results


def _try_to_read(path: Path, size: int, crop_to_aspect_ratio: bool):
    try:
        return read_picture(path, size, crop_to_aspect_ratio)
    except Exception as error:  # decoders of broken files raise nearly anything
        return None, f"{type(error).__name__}: {error}".replace(str(path), path.name)
