import io
import os
import struct

import numpy as np
import pytest
from PIL import Image

from tests.faults.corpus import decode
from transfer.preprocessing import decoding
from transfer.preprocessing.decoding import centre_square, count_scans, decode_image

SCANS = 200 * b"\xff\xda\0\2"
RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)


def save(tmp_path, name, image, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def middle(path, size=8):
    pixels, _ = decode_image(path, size, crop_to_aspect_ratio=True)
    assert (pixels.shape, pixels.dtype) == ((size, size, 3), np.uint8)
    return tuple(pixels[size // 2, size // 2].tolist())


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.gif", "a.webp", "a.tiff", "a.jpg"])
def test_every_format_is_decoded(tmp_path, name):
    path = save(tmp_path, name, Image.new("RGB", (20, 20), RED))
    np.testing.assert_allclose(middle(path), RED, atol=3)  # JPEG and WebP lose a little


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.tiff", "a.jpg"])
def test_an_open_file_gives_what_its_path_does(tmp_path, name):
    path = save(tmp_path, name, Image.radial_gradient("L").convert("RGB"))
    pixels, size = decode_image(io.BytesIO(path.read_bytes()), 8, crop_to_aspect_ratio=True)
    expected, _ = decode_image(path, 8, crop_to_aspect_ratio=True)
    np.testing.assert_array_equal(pixels, expected)
    assert size == (256, 256)


def test_suffix_does_not_matter(tmp_path):
    path = save(tmp_path, "a.jpg", Image.new("RGB", (20, 20), GREEN), format="PNG")
    assert middle(path) == GREEN


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("L", 128, GREY),
        ("1", 1, (255, 255, 255)),
        ("LA", (128, 255), GREY),
        ("LA", (128, 0), (255, 255, 255)),
        ("RGBA", (*RED, 255), RED),
        ("RGBA", (*RED, 0), (255, 255, 255)),
        ("I;16", 128 * 257, GREY),
    ],
)
def test_every_mode_becomes_rgb_on_white(tmp_path, mode, color, expected):
    assert middle(save(tmp_path, "a.png", Image.new(mode, (20, 20), color))) == expected


def test_cmyk_becomes_rgb(tmp_path):
    path = save(tmp_path, "a.jpg", Image.new("CMYK", (20, 20), (0, 255, 255, 0)))
    np.testing.assert_allclose(middle(path), RED, atol=3)


def test_the_transparent_colour_of_a_palette_is_white(tmp_path):
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, *BLUE])
    assert middle(save(tmp_path, "a.png", image)) == BLUE
    assert middle(save(tmp_path, "b.png", image, transparency=1)) == (255, 255, 255)


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    frames = [Image.new("RGB", (20, 20), color) for color in (RED, BLUE)]
    path = save(tmp_path, "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert middle(path) == RED


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tiff"])
def test_images_are_turned_as_exif_says(tmp_path, name, orientation):
    upright = Image.new("RGB", (40, 20), RED)
    upright.paste(GREEN, (20, 0, 40, 10))
    upright.paste(BLUE, (0, 10, 20, 20))
    back = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if back is None else upright.transpose(back)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if name == "a.webp" else {"quality": 95, "subsampling": 0}
    path = save(tmp_path, name, stored, exif=exif, **options)
    pixels, size = decode_image(path, 8, crop_to_aspect_ratio=False)
    assert size == (40, 20)
    corners = [pixels[y, x] for y, x in ((1, 1), (1, 6), (6, 1))]
    np.testing.assert_allclose(corners, [RED, GREEN, BLUE], atol=5)  # Lanczos rings a little


@pytest.mark.parametrize("exif", [b"junk", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0\x01", b""])
def test_damaged_exif_says_nothing(tmp_path, exif):
    path = save(tmp_path, "a.png", Image.new("RGB", (20, 20), RED), exif=b"Exif\0\0" + exif)
    results = decode(tmp_path / "images.npy", [path], 8, crop_to_aspect_ratio=True)
    assert results == [(20, 20)]
    assert (np.load(tmp_path / "images.npy") == RED).all()


def test_exif_that_rotates_and_is_damaged_behind_that(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    damaged = exif.tobytes().replace(b"\x01\x0e\0\x02\0\0\0\x0e", b"\x01\x0e\0\x02\0\xff\xff\xff")
    assert damaged != exif.tobytes()
    path = save(tmp_path, "a.png", Image.new("RGB", (40, 20), RED), exif=damaged)
    results = decode(tmp_path / "images.npy", [path], 8, crop_to_aspect_ratio=True)
    assert results == [(20, 40)]


def test_crop_keeps_the_centre_and_squeeze_keeps_all(tmp_path):
    image = Image.new("RGB", (40, 20), RED)
    image.paste(BLUE, (10, 0, 30, 20))
    path = save(tmp_path, "a.png", image)
    cropped, _ = decode_image(path, 8, crop_to_aspect_ratio=True)
    squeezed, _ = decode_image(path, 8, crop_to_aspect_ratio=False)
    assert (cropped[:, 1:-1].argmax(axis=2) == 2).all()
    np.testing.assert_allclose(cropped[4, 2:6], [BLUE] * 4, atol=5)
    assert tuple(squeezed[4, 0]) == RED
    assert tuple(squeezed[4, 4]) == BLUE


def test_the_centre_square_may_begin_between_pixels():
    assert centre_square(500, 374) == (63, 0, 437, 374)
    assert centre_square(3, 4) == (0, 0.5, 3, 3.5)


def test_one_pixel_is_enough(tmp_path):
    assert middle(save(tmp_path, "a.png", Image.new("RGB", (1, 1), GREEN))) == GREEN


def test_rows_are_those_that_could_be_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "CHUNK", 2)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)  # Pillow refuses twice as many
    good = [
        save(tmp_path, f"{i}.png", Image.new("RGB", (9, 9), c)) for i, c in enumerate((RED, BLUE))
    ]
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    empty = tmp_path / "empty.jpg"
    empty.touch()
    whole = save(tmp_path, "whole.jpg", Image.new("RGB", (30, 30), RED)).read_bytes()
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole[: len(whole) - 20])
    bomb = save(tmp_path, "bomb.png", Image.new("RGB", (40, 40)))
    deep = save(tmp_path, "deep.tiff", Image.new("F", (9, 9), 0.5))
    missing = tmp_path / "missing.jpg"

    paths = [text, good[0], empty, cut, bomb, good[1], deep, missing]
    results = decode(tmp_path / "images.npy", paths, 8, crop_to_aspect_ratio=True)
    assert [results[1], results[5]] == [(9, 9), (9, 9)]
    reasons = [results[i] for i in (0, 2, 3, 4, 6, 7)]
    for reason, word in zip(
        reasons,
        ("cannot identify", "cannot identify", "truncated", "Bomb", "of 32 bits", "No such file"),
        strict=True,
    ):
        assert word in reason
        assert str(tmp_path) not in reason

    pixels = np.load(tmp_path / "images.npy")
    assert (pixels.shape, pixels.dtype) == ((2, 8, 8, 3), np.uint8)
    assert (pixels[0] == RED).all()
    assert (pixels[1] == BLUE).all()


def test_resize_is_lanczos(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    path = save(tmp_path, "a.png", Image.fromarray(noise))
    expected = Image.fromarray(noise).resize((16, 16), Image.Resampling.LANCZOS)
    pixels, _ = decode_image(path, 16, crop_to_aspect_ratio=True)
    np.testing.assert_array_equal(pixels, np.asarray(expected))


def test_twelve_bits_are_scaled_as_sixteen_are(tmp_path):
    fields = [
        *((256, 20), (257, 20), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 20)),
        (279, 20 * 30),
    ]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
    pixels = b"\x80\x08\x00" * 10 * 20  # 0x800 and 0x800: two in three bytes
    path = tmp_path / "a.tif"
    path.write_bytes(
        b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels
        + struct.pack("<H", len(fields)) + directory + bytes(4)
    )  # fmt: skip
    assert middle(path) == GREY


@pytest.mark.parametrize("name", ["JPEG", "MPO", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_what_follows_an_image_changes_nothing(tmp_path, name):
    """As the video of a phone's motion photo does, in which the marker of a scan is frequent."""
    image = Image.radial_gradient("L").convert("RGB")
    more = {"save_all": True, "append_images": [image]} if name == "MPO" else {}
    path = save(tmp_path, "a", image, format=name, **more)
    expected, _ = decode_image(path, 8, crop_to_aspect_ratio=True)
    video = b"\0\0\0\x18ftypmp42" + np.random.default_rng(0).bytes(100_000) + SCANS
    path.write_bytes(path.read_bytes() + video)
    pixels, size = decode_image(path, 8, crop_to_aspect_ratio=True)
    np.testing.assert_array_equal(pixels, expected)
    assert size == (256, 256)


def test_scans_are_those_that_libjpeg_reads():
    start, scan, end = b"\xff\xd8", b"\xff\xda\0\x04ab", b"\xff\xd9"
    video = b"\0\0\0\x18ftypmp42" + SCANS
    assert count_scans(start + 3 * scan + end) == 3
    assert count_scans(start + 3 * (scan + b"x\xff\0\xff\xd0y") + end + video) == 3
    # Of a thumbnail's, which are in a segment, and of those in a comment, none counts.
    for marker in (b"\xff\xe1", b"\xff\xfe"):
        segment = marker + (len(video) + 2).to_bytes(2) + video
        assert count_scans(start + segment + 3 * scan + end) == 3
    # Fill bytes, bytes between segments, restarts and reserved markers hide none.
    for between in (b"\xff", b"\xff\xff", b"x", b"\xff\xd3", b"\xff\x02\x10\x10", b"\xff\0"):
        assert count_scans(start + 500 * (between + scan) + end + video) == 500
    assert count_scans(start + 500 * scan) == 500


def test_other_formats_are_not_opened(tmp_path):
    path = save(tmp_path, "a.jpg", Image.new("RGB", (20, 20), RED), format="EPS")
    (reason,) = decode(tmp_path / "images.npy", [path], 8, crop_to_aspect_ratio=True)
    assert reason == "cannot identify it as BMP, GIF, JPEG, PNG, TIFF, WEBP"


@pytest.mark.parametrize(
    "name",
    [
        "with space.jpg",
        "quo\"te's.jpg",
        "new\nline.jpg",
        "\x1b[31m.jpg",
        "猫 🐈.jpg",
        196 * "a" + ".jpg",
    ],
)
def test_names_change_nothing_and_reasons_are_one_line(tmp_path, name):
    good = save(tmp_path, name, Image.new("RGB", (20, 20), RED), format="PNG")
    bad = tmp_path / "bad" / name
    bad.parent.mkdir()
    bad.write_bytes(good.read_bytes()[:-30])
    missing = bad.with_name(name[1:])
    results = decode(tmp_path / "images.npy", [good, bad, missing], 8, True)
    assert results == [
        (20, 20),
        "OSError: image file is truncated",
        "FileNotFoundError: No such file or directory",
    ]


def test_links_are_followed(tmp_path):
    save(tmp_path, "a.png", Image.new("RGB", (20, 20), RED))
    (tmp_path / "link.png").symlink_to("a.png")
    (tmp_path / "dangling.png").symlink_to("nowhere.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    names = ["link.png", "dangling.png", "loop.png"]
    results = decode(tmp_path / "images.npy", [tmp_path / name for name in names], 8, True)
    assert results == [
        (20, 20),
        "FileNotFoundError: No such file or directory",
        "OSError: Too many levels of symbolic links",
    ]


@pytest.mark.skipif(os.getuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_rejected(tmp_path):
    path = save(tmp_path, "a.png", Image.new("RGB", (20, 20), RED))
    path.chmod(0)
    results = decode(tmp_path / "images.npy", [path], 8, True)
    assert results == ["PermissionError: Permission denied"]
