"""PNGs with long texts are read, in bounded memory."""

import io
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.faults.corpus import PNG, png_chunk
from transfer.preprocessing.decoding import try_decode

DRAWN = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
MB = 1 << 20


def png(*chunks, behind=False, **options):
    """Return a PNG of `DRAWN` with more chunks, before or behind its pixels."""
    file = io.BytesIO()
    Image.fromarray(DRAWN).save(file, "PNG", **options)
    content, more = file.getvalue(), b"".join(png_chunk(*chunk) for chunk in chunks)
    start = len(content) - 12 if behind else len(PNG) + 25
    return content[:start] + more + content[start:]


def compressed(size):
    return zlib.compress(bytes(size))


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(
    "chunk",
    [
        (b"tEXt", b"workflow\0" + b"x" * 3 * MB),
        (b"tEXt", b"workflow\0" + b"x" * 70 * MB),
        (b"zTXt", b"workflow\0\0" + compressed(2 * MB)),
        (b"zTXt", b"workflow\0\0" + compressed(40 * MB)),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + compressed(2 * MB)),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + compressed(40 * MB)),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"x" * 2 * MB),
        (b"iCCP", b"profile\0\0" + compressed(40 * MB)),
        (b"iCCP", b"profile"),
        (b"zTXt", b"an unknown compression\0\7abc"),
    ],
    ids=lambda chunk: f"{chunk[0].decode()} {len(chunk[1])}",
)
def test_no_text_or_profile_makes_an_image_unreadable(chunk, behind):
    pixels, result = try_decode(io.BytesIO(png(chunk, behind=behind)), 8, False)
    assert pixels is not None, result
    np.testing.assert_array_equal(pixels, DRAWN)


def test_many_texts_take_little_memory():
    content = compressed(15 * MB)
    texts = [(b"zTXt", b"%d\0\0" % number + content) for number in range(40)]  # 600 MB
    tracemalloc.start()
    try:
        pixels, _ = try_decode(io.BytesIO(png(*texts)), 8, False)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(pixels, DRAWN)
    assert peak < 200 * MB


def test_the_orientation_in_a_long_text_is_read():
    text = b'<x tiff:Orientation="3"/>' + b" " * 2 * MB
    content = png((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(text)))
    pixels, _ = try_decode(io.BytesIO(content), 8, False)
    np.testing.assert_array_equal(pixels, DRAWN[::-1, ::-1])


def test_a_damaged_or_cut_text_is_refused():
    whole = png((b"tEXt", b"workflow\0" + b"x" * 70 * MB))
    for content in (whole[: 2 * MB], whole.replace(b"xxxx", b"xxxy", 1)):
        pixels, _ = try_decode(io.BytesIO(content), 8, False)
        assert pixels is None
