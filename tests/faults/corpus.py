"""Small pictures in every format and coding that the reader takes, and small files that explode."""

import io
import struct
import zlib
from functools import cache, partial

import numpy as np
from PIL import Image

from transfer.preprocessing.decoding import decode_images, try_decode

PNG = b"\x89PNG\r\n\x1a\n"
ROTATION, ORIENTATION = 6, 0x0112  # EXIF: the camera was held upright


def decode(target, paths, size, crop_to_aspect_ratio) -> list[tuple[int, int] | str]:
    """Write the pixels of pictures into an array; return a size or a reason for each, in order."""
    options = {"size": size, "crop_to_aspect_ratio": crop_to_aspect_ratio}
    results = list(decode_images(paths, partial(try_decode, **options)))
    pixels = [image for image, _ in results if image is not None]
    np.save(target, np.array(pixels, np.uint8).reshape(-1, size, size, 3))
    return [result for _, result in results]


@cache
def pictures() -> dict[str, bytes]:
    """Return files by name. All but float.tif, whose pixels have no range, can be read."""
    rgb = _drawn()
    grey, rgba = rgb.convert("L"), rgb.copy()
    rgba.putalpha(grey)
    palette = rgb.quantize(64)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[ORIENTATION] = ROTATION
    return {
        "baseline.jpg": _encode(rgb, "JPEG"),
        "progressive.jpg": _encode(rgb, "JPEG", progressive=True),
        "grey.jpg": _encode(grey, "JPEG"),
        "cmyk.jpg": _encode(rgb.convert("CMYK"), "JPEG"),
        "exif.jpg": _encode(rgb, "JPEG", exif=exif),
        "two.jpg": _encode(rgb, "MPO", frames=2),
        "rgb.png": _encode(rgb, "PNG", exif=exif),
        "rgba.png": _encode(rgba, "PNG"),
        "palette.png": _encode(palette, "PNG", transparency=3),
        "16bit.png": _encode(deep, "PNG"),
        "animated.png": _encode(rgb, "PNG", frames=2),
        "rgb.bmp": _encode(rgb, "BMP"),
        "palette.bmp": _encode(palette, "BMP"),
        "palette.gif": _encode(palette, "GIF", transparency=3),
        "animated.gif": _encode(rgb, "GIF", frames=2),
        "lossy.webp": _encode(rgb, "WEBP", exif=exif),
        "lossless.webp": _encode(rgba, "WEBP", lossless=True),
        "animated.webp": _encode(rgb, "WEBP", frames=2),
        "rgb.tif": _encode(rgb, "TIFF", exif=exif),
        "lzw.tif": _encode(rgba, "TIFF", compression="tiff_lzw"),
        "deflate.tif": _encode(deep, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg.tif": _encode(rgb, "TIFF", compression="jpeg"),
        "packbits.tif": _encode(palette, "TIFF", compression="packbits"),
        "group4.tif": _encode(rgb.convert("1"), "TIFF", compression="group4"),
        "cmyk.tif": _encode(rgb.convert("CMYK"), "TIFF"),
        "two.tif": _encode(rgb, "TIFF", frames=2),
        "float.tif": _encode(Image.fromarray(np.full((32, 48), np.nan, np.float32)), "TIFF"),
    }


@cache
def bombs() -> dict[str, bytes]:
    """Return files by name that would take gigabytes or hours."""
    progressive = _encode(_drawn(), "JPEG", progressive=True)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    # Of one colour a lossless WebP has no bits a pixel: its size can be written over.
    webp = bytearray(_encode(Image.new("RGB", (16, 16)), "WEBP", lossless=True))
    size = 16_383 - 1 | 16_383 - 1 << 14
    webp[21:25] = struct.pack("<I", size | struct.unpack("<I", webp[21:25])[0] >> 28 << 28)
    return {
        "square.png": one_bit_png(20_000, 20_000),
        "line.png": one_bit_png(40_000_000, 1),
        "scans.jpg": progressive[:-2] + 10_000 * scan + progressive[-2:],
        "canvas.webp": bytes(webp),
        "filled.jpg": progressive[:-2] + 10_000 * (b"\xff" + scan) + progressive[-2:],
    }


def one_bit_png(width: int, height: int) -> bytes:
    """Return a black PNG."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(((width + 7) // 8 + 1) * height))
    return PNG + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG file, with its length and its checksum."""
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _drawn() -> Image.Image:
    """Return 48 x 32 pixels of slopes, an edge and noise, none of which is symmetrical."""
    y, x = np.mgrid[:32, :48]
    slopes = np.stack([5 * x, 7 * y, 255 - 3 * (x + y)], axis=-1)
    noise = np.random.default_rng(0).integers(0, 24, (32, 48, 3))
    return Image.fromarray(np.clip(slopes + noise - 90 * (x > y)[..., None], 0, 255).astype("u1"))


def _encode(picture: Image.Image, form: str, frames: int = 1, **options) -> bytes:
    first = picture.copy()  # a JPEG leaves its settings in what was saved
    if frames > 1:
        turned = picture.transpose(Image.Transpose.ROTATE_180)
        options |= {"save_all": True, "append_images": [turned] * (frames - 1)}
    file = io.BytesIO()
    first.save(file, form, **options)
    return file.getvalue()
