"""Reduce images of all of Pillow's modes to RGB of 8 bits a sample, as a viewer shows them.

Of more than 8 bits, an image may use a part: cameras and scanners write 12 bits into samples of 16.
Where the file does not say so, and the highest bit is unused, the image is refused: it may be a
dark one of 16 bits, or one of 12 that would become nearly black.
"""

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, SAMPLEFORMAT

MAX_SAMPLE_VALUE = 281  # a tag of TIFF
WHITE_IS_ZERO = 0  # a value of PHOTOMETRIC_INTERPRETATION
UNSIGNED = 1  # a value of SAMPLEFORMAT
KINDS = {UNSIGNED: "unsigned integers", 2: "signed integers", 3: "floating-point numbers"}
FULL = 16
ADVICE = "scale them to the full range, or save the image with 8 bits"


def has_16_bits(image: Image.Image) -> bool:
    """Return whether the samples in a file have 16 bits; only known until the image is loaded."""
    return any(";16" in str(tile.args) for tile in image.tile)


def to_rgb(image: Image.Image, is_deep: bool) -> Image.Image:
    """Convert an image of any of Pillow's modes to RGB; transparent pixels are blended with white.

    Args:
        image: Loaded.
        is_deep: What `has_16_bits` returned.

    Raises:
        ValueError: The range of the samples is unknown.
    """
    (kind, *_) = _tags(image).get(SAMPLEFORMAT, (UNSIGNED,))
    if kind != UNSIGNED or image.mode == "I":
        raise ValueError(
            f"its samples are {KINDS.get(kind, 'numbers')} of {_tags(image)[BITSPERSAMPLE][0]} "
            "bits, whose range is unknown; save the image with 8 bits, or 16 unsigned"
        )
    if image.mode.startswith("I;16"):
        return _grey_to_rgb(image)
    if is_deep:
        _check_upper_halves(image)
    if image.mode == "La":  # premultiplied; convert() knows no direct way
        image = image.convert("LA")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey_to_rgb(image: Image.Image) -> Image.Image:
    """Scale grey samples of up to 16 bits; convert() would clip them to 255."""
    samples = np.asarray(image)
    grey = (samples >> _used_bits(image, int(samples.max())) - 8).astype(np.uint8)
    if _tags(image).get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO:
        grey = 255 - grey
    grey[samples == image.info.get("transparency", -1)] = 255
    return Image.fromarray(grey).convert("RGB")


def _check_upper_halves(image: Image.Image) -> None:
    """Check the range of a colour image of 16 bits, of which Pillow keeps the upper 8."""
    extrema = zip(image.getbands(), image.getextrema(), strict=True)
    top = max(high for band, (_, high) in extrema if band != "A")
    if (bits := _used_bits(image, (top << 8) + 255)) < FULL:
        raise ValueError(f"its samples use {bits} of {FULL} bits; {ADVICE}")
    if isinstance(color := image.info.get("transparency"), tuple):
        image.info["transparency"] = tuple(value >> 8 for value in color)


def _used_bits(image: Image.Image, top: int) -> int:
    """Return how many bits of a sample are used, 8 to 16.

    Args:
        image: Its tags, or its sBIT chunk, may say so.
        top: The largest sample.

    Raises:
        ValueError: The file does not say so, and the highest bit is unused.
    """
    (bits, *_) = _tags(image).get(BITSPERSAMPLE, (FULL,))
    if bits == FULL:
        (limit, *_) = _tags(image).get(MAX_SAMPLE_VALUE, (0,))
        # A largest value other than 11…1 in binary is that of this image.
        bits = 0 if limit & (limit + 1) else limit.bit_length()
        bits = image.info.get("significant_bits", bits)
    if 8 <= bits <= FULL:
        return FULL if top >> bits else bits  # samples of 12 significant bits may be scaled
    if 0 < top < 1 << FULL - 1:
        raise ValueError(
            f"its samples of {FULL} bits are at most {top:,}: it may have fewer bits, and would be "
            f"too dark; {ADVICE}"
        )
    return FULL


def _tags(image: Image.Image) -> dict:
    return getattr(image, "tag_v2", {})
