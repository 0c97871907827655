"""Samples of more than 8 bits: right as the file states them, or refused with the reason."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.faults.corpus import PNG, png_chunk
from transfer.preprocessing.decoding import try_decode

RAMP = np.add.outer(np.arange(16), np.arange(16)) * 8 + 15  # 15 to 255
GREY, GREY_ALPHA, RGB, RGBA = 0, 4, 2, 6  # colour types of PNG
UNUSED = "its samples of 16 bits are at most {:,}: it may have fewer bits, and would be too dark"


def colour(grey, *more):
    return np.stack([grey, grey, grey, *more], axis=-1)


def png(samples, kind, *chunks):
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    content = zlib.compress(rows)
    chunks = ((b"IHDR", header), *chunks, (b"IDAT", content), (b"IEND", b""))
    return PNG + b"".join(png_chunk(*chunk) for chunk in chunks)


def tiff(samples, photometric, order="<", **tags):
    """Return an uncompressed TIFF of samples of any dtype."""
    height, width, channels = (*samples.shape, 1)[:3]
    content = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    bits, kind = samples.dtype.itemsize * 8, "uif".index(samples.dtype.kind) + 1
    fields = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: channels}
    fields |= {278: height, 279: len(content), 339: kind}
    fields |= {int(name[1:]): value for name, value in tags.items()}
    entries = [struct.pack(f"{order}HHII", tag, 4, 1, v) for tag, v in sorted(fields.items())]
    start = b"II*\0" if order == "<" else b"MM\0*"
    return b"".join(
        (
            start + struct.pack(f"{order}I", 8 + len(content)) + content,
            struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4),
        )
    )


def check(content, expected):
    """Compare pixels or a reason."""
    pixels, result = try_decode(io.BytesIO(content), 16, False)
    if isinstance(expected, str):
        assert pixels is None and expected in result
    else:
        assert pixels is not None, result
        np.testing.assert_array_equal(pixels, colour(expected))


@pytest.mark.parametrize("kind", [GREY, GREY_ALPHA, RGB, RGBA])
def test_a_png_of_16_bits_is_scaled_to_8(kind):
    grey = RAMP * 257
    opaque = np.full_like(grey, 65_535)
    samples = {
        GREY: grey,
        GREY_ALPHA: np.stack([grey, opaque], axis=-1),
        RGB: colour(grey),
        RGBA: colour(grey, opaque),
    }
    check(png(samples[kind], kind), RAMP)


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 15])
@pytest.mark.parametrize("kind", [GREY, RGB, RGBA])
def test_fewer_bits_in_16_are_refused_where_nothing_says_so(bits, kind):
    grey = RAMP << bits - 8
    samples = {GREY: grey, RGB: colour(grey), RGBA: colour(grey, np.full_like(grey, 65_535))}
    top = 255 << bits - 8
    top = top if kind == GREY else top | 255  # of colours, Pillow keeps the upper half
    check(png(samples[kind], kind), UNUSED.format(top))
    if kind != RGBA:
        check(tiff(samples[kind].astype("u2"), {GREY: 1, RGB: 2}[kind]), UNUSED.format(top))


def test_a_png_is_scaled_by_its_significant_bits():
    twelve, sixteen = ((b"sBIT", bytes([bits])) for bits in (12, 16))
    check(png(RAMP * 16, GREY, twelve), RAMP)  # stored as they are
    check(png(RAMP * 257, GREY, twelve), RAMP)  # scaled, as PNG's standard says
    check(png(RAMP * 16, GREY, sixteen), RAMP // 16)  # it is dark
    check(png(RAMP * 257, GREY, (b"sBIT", b"")), RAMP)
    check(png(colour(RAMP * 257), RGB, (b"sBIT", b"\x0c\x0c\x0c")), RAMP)
    check(png(colour(RAMP * 16), RGB, (b"sBIT", b"\x0c\x0c\x0c")), "its samples use 12 of 16 bits")


def test_a_tiff_is_scaled_by_its_largest_value():
    twelve = (RAMP * 16).astype("u2")
    check(tiff(twelve, 1, _281=4_095), RAMP)
    check(tiff(twelve, 1, _281=65_535), RAMP // 16)
    check(tiff(twelve, 1, _281=4_080), UNUSED.format(4_080))  # that of this image


def test_a_tiff_in_which_white_is_zero_is_inverted():
    for order in "<>":
        check(tiff(RAMP.astype("u1"), 0, order), 255 - RAMP)
        check(tiff((RAMP * 257).astype("u2"), 1, order), RAMP)
    check(tiff((RAMP * 257).astype("u2"), 0), 255 - RAMP)
    check(tiff((RAMP * 16).astype("u2"), 0, _281=4_095), 255 - RAMP)
    compressed = io.BytesIO()
    inverted = Image.fromarray((RAMP * 257).astype("u2"))
    inverted.save(compressed, "TIFF", compression="tiff_lzw", tiffinfo={262: 0})
    check(compressed.getvalue(), 255 - RAMP)
    big_endian = tiff((RAMP * 257).astype("u2"), 0, ">")
    check(big_endian, "a TIFF of a kind that is not read: unknown pixel mode")


def test_black_is_black_whatever_its_bits():
    check(png(RAMP * 0, GREY), RAMP * 0)


@pytest.mark.parametrize("kind", [GREY, RGB])
def test_the_transparent_value_is_white(kind):
    grey = RAMP * 256 + 7
    samples = grey if kind == GREY else colour(grey)
    value = struct.pack(">H", 143 * 256 + 7) * (1 if kind == GREY else 3)
    check(png(samples, kind, (b"tRNS", value)), np.where(RAMP == 143, 255, RAMP))


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        ("i1", "signed integers of 8 bits"),
        ("i2", "signed integers of 16 bits"),
        ("i4", "signed integers of 32 bits"),
        ("u4", "unsigned integers of 32 bits"),
        ("f4", "floating-point numbers of 32 bits"),
    ],
)
def test_samples_without_a_known_range_are_refused(dtype, kind):
    check(tiff((RAMP // 3).astype(dtype), 1), f"its samples are {kind}, whose range is unknown")


@pytest.mark.parametrize(
    ("samples", "photometric"), [(RAMP.astype("f8"), 1), (colour(RAMP / 255).astype("f4"), 2)]
)
def test_what_pillow_cannot_read_is_refused_with_its_reason(samples, photometric):
    reason = "a TIFF of a kind that is not read: unknown pixel mode"
    check(tiff(samples, photometric), reason)


@pytest.mark.parametrize("alpha", [1, 2])  # premultiplied or not
def test_transparent_pixels_of_a_tiff_are_white(alpha):
    grey = RAMP.astype("u1")
    check(tiff(np.stack([grey, np.full_like(grey, 255)], -1), 1, _338=alpha), RAMP)
    check(tiff(colour(grey, np.full_like(grey, 255)), 2, _338=alpha), RAMP)
    check(tiff(np.zeros((16, 16, 2), "u1"), 1, _338=alpha), np.full((16, 16), 255))


@pytest.mark.parametrize(
    ("mode", "form", "options"),
    [
        ("CMYK", "TIFF", {}),
        ("CMYK", "JPEG", {"quality": 95}),  # Pillow stores it inverted, as Adobe does
        ("YCbCr", "TIFF", {}),
        ("LAB", "TIFF", {}),
        ("RGB", "TIFF", {"compression": "jpeg", "quality": 95}),
        ("P", "TIFF", {}),
        ("P", "BMP", {}),
        ("RGBA", "BMP", {}),
    ],
)
def test_every_colour_space_becomes_rgb(mode, form, options):
    drawn = Image.fromarray(colour(RAMP, RAMP[::-1])[..., 1:].astype("u1"))
    file = io.BytesIO()
    stored = drawn.quantize() if mode == "P" else drawn.convert(mode)
    stored.save(file, form, **options)
    pixels, _ = try_decode(file, 16, False)
    np.testing.assert_allclose(pixels, np.asarray(drawn), atol=12)


@pytest.mark.parametrize("options", [{}, {"compression": "group4"}, {"tiffinfo": {262: 0}}])
def test_one_bit_is_black_or_white(options):
    file = io.BytesIO()
    Image.fromarray(RAMP > 128).save(file, "TIFF", **options)
    check(file.getvalue(), np.where(RAMP > 128, 255, 0))
