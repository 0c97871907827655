from PIL import Image

from transfer.data.formats import FORMATS, SUFFIXES, SUFFIXES_BY_FORMAT


def test_the_suffixes_are_those_that_pillow_gives_the_formats():
    known = Image.registered_extensions()
    for name, suffixes in SUFFIXES_BY_FORMAT.items():
        assert {known[suffix] for suffix in suffixes} == {name}


def test_six_formats_and_their_suffixes_are_accepted():
    assert FORMATS == ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
    assert sorted(SUFFIXES) == [
        *(".bmp", ".gif", ".jpeg", ".jpg"),
        *(".png", ".tif", ".tiff", ".webp"),
    ]
