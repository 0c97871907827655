"""The reader on every format and coding: whole, cut off anywhere, and as bombs."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.faults.corpus import bombs, decode, pictures
from transfer.preprocessing.decoding import decode_image

READABLE = [name for name in pictures() if name != "float.tif"]
ROTATED = {"exif.jpg", "rgb.png", "lossy.webp", "rgb.tif"}
GREY = {"grey.jpg", "16bit.png", "deflate.tif"}
TRANSPARENT = {"rgba.png", "lossless.webp", "lzw.tif"}  # the darker, the more
EXACT = {"rgb.png", "16bit.png", "animated.png", "rgb.bmp", "rgb.tif", "deflate.tif", "two.tif"} | {
    *("rgba.png", "lossless.webp", "lzw.tif", "group4.tif", "cmyk.tif")
}


def write(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


def as_seen(name):
    """Return what a person sees in a file of the corpus, but for what its coding loses."""
    picture = Image.open(io.BytesIO(pictures()["rgb.bmp"]))
    if name in ROTATED:
        picture = picture.transpose(Image.Transpose.ROTATE_270)
    if name in GREY:
        picture = picture.convert("L")
    if name == "group4.tif":
        picture = picture.convert("1")
    if name in TRANSPARENT:
        picture = Image.composite(
            picture, Image.new("RGB", (48, 32), "white"), picture.convert("L")
        )
    return picture.convert("RGB")


@pytest.mark.parametrize("name", READABLE)
def test_whole_pictures_have_their_pixels(tmp_path, name):
    pixels, size = decode_image(write(tmp_path, name, pictures()[name]), 32, False)
    expected = as_seen(name)
    assert size == expected.size
    resized = np.asarray(expected.resize((32, 32), Image.Resampling.LANCZOS))
    error = np.abs(pixels.astype(int) - resized)
    # Half a turn would make it 80 or more, grey instead of colours 40.
    assert error.max() <= 1 if name in EXACT else error.mean() < 8


@pytest.mark.parametrize("name", READABLE)
def test_cut_off_a_picture_is_rejected_or_loses_no_pixel(tmp_path, name):
    whole = pictures()[name]
    cuts = sorted({*range(0, len(whole), len(whole) // 30), *range(len(whole) - 24, len(whole))})
    paths = [write(tmp_path, f"{cut}", whole[:cut]) for cut in cuts]
    results = decode(tmp_path / "images.npy", paths, 32, False)
    assert isinstance(results[0], str)
    expected, size = decode_image(write(tmp_path, "whole", whole), 32, False)
    assert {result for result in results if isinstance(result, tuple)} <= {size}
    assert (np.load(tmp_path / "images.npy") == expected).all()


def test_floats_are_rejected(tmp_path):
    path = write(tmp_path, "nan.tif", pictures()["float.tif"])
    results = decode(tmp_path / "images.npy", [path], 32, False)
    (reason,) = results
    assert reason.startswith("ValueError: its samples are floating-point numbers of 32 bits")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("square.png", "DecompressionBombError: Image size (400000000 pixels) exceeds limit"),
        ("canvas.webp", "DecompressionBombError: Image size (268402689 pixels) exceeds limit"),
        ("line.png", "ValueError: 40000000 x 1 pixels, a side over 65,535"),
        ("scans.jpg", "ValueError: a JPEG of 10,010 scans, over 100"),
        ("filled.jpg", "ValueError: a JPEG of 10,010 scans, over 100"),
    ],
)
def test_bombs_are_rejected(tmp_path, name, reason):
    path = write(tmp_path, name, bombs()[name])
    (result,) = decode(tmp_path / "images.npy", [path], 32, False)
    assert result.startswith(reason)


def test_damaged_files_are_rejected_in_silence(tmp_path, capfd):
    names = ("deflate.tif", "group4.tif", "rgb.tif", "two.jpg", "animated.png")
    files = [(name, cut) for name in names for cut in range(0, len(pictures()[name]), 40)]
    paths = [write(tmp_path, f"{cut} {name}", pictures()[name][:cut]) for name, cut in files]
    decode(tmp_path / "images.npy", paths, 32, False)
    assert capfd.readouterr() == ("", "")
