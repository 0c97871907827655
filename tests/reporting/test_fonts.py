"""Names in all scripts, in fonts that are installed; what is missing is named once."""

import string

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image

from tests.helpers.figures import make_images
from transfer.reporting import figures, fonts
from transfer.reporting.fonts import use_fonts_for
from transfer.reporting.grids import image_grid
from transfer.reporting.style import STYLE, save

pytestmark = pytest.mark.filterwarnings("error")


def make_font(path, family, characters):
    """Write a font whose glyphs are all a black square."""
    pen = TTGlyphPen(None)
    corners = ((0, 0), (0, 1000), (1000, 1000), (1000, 0))
    pen.moveTo(corners[0])
    for corner in corners[1:]:
        pen.lineTo(corner)
    pen.closePath()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap({ord(character): "square" for character in characters})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 0)})
    builder.setupHorizontalHeader(ascent=1000, descent=0)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=1000, usWinAscent=1000, usWinDescent=0)
    builder.setupPost()
    builder.save(path)
    return str(path)


@pytest.fixture
def install(monkeypatch):
    """Return a function that makes some fonts, and no others, those of the system."""
    yield lambda *paths: monkeypatch.setattr(fonts, "findSystemFonts", lambda: list(paths))
    use_fonts_for([])


def draw(path, name):
    """Draw a title in black above an image; return how many pixels of it are nearly black."""
    figure = image_grid(np.full_like(make_images(1), 255), [name], ["#000000"])
    save(figure, path)
    above = figure.bbox.height - figure.axes[0].get_window_extent().y1 - 4
    return int((np.asarray(Image.open(path).convert("L"))[: int(above)] < 60).sum())


def test_names_in_latin_cyrillic_and_arabic_need_no_other_font(tmp_path, install, capfd):
    names = ["cats", "Größe é", "кошка", "قط", "a\u200bb 5 €"]
    figure = figures.confusion_matrix(np.array([0, 1]), np.array([0, 1]), names[:2])
    save(figure, tmp_path / "before.png")
    install(make_font(tmp_path / "all.ttf", "All", string.printable + "猫é"))
    use_fonts_for(names)
    figure = figures.confusion_matrix(np.array([0, 1]), np.array([0, 1]), names[:2])
    save(figure, tmp_path / "after.png")
    assert (tmp_path / "before.png").read_bytes() == (tmp_path / "after.png").read_bytes()
    assert "font.family" not in STYLE
    assert capfd.readouterr().err == ""


def test_the_fonts_that_have_most_of_what_is_missing_are_used(tmp_path, install, capfd):
    (tmp_path / "damaged.ttf").write_bytes(b"no font")
    install(
        str(tmp_path / "damaged.ttf"),
        make_font(tmp_path / "a.ttf", "One", "猫"),
        make_font(tmp_path / "b.ttf", "Two", "猫犬"),
        make_font(tmp_path / "c.ttf", ".LastResort", "猫犬한"),
        make_font(tmp_path / "d.ttf", "Three", "한"),
    )
    boxes = draw(tmp_path / "grid.png", "猫犬한")
    use_fonts_for(["cats", "猫 犬", "한"])
    assert STYLE["font.family"] == [fonts.FONT, "Two", "Three"]
    assert draw(tmp_path / "grid.png", "猫犬한") > 2 * boxes
    assert capfd.readouterr().err == ""


def test_one_line_names_what_no_font_has(tmp_path, install, capfd):
    install(make_font(tmp_path / "a.ttf", "One", "猫"))
    use_fonts_for(["猫", "犬 dogs", "鳥 birds"])
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("plot: no installed font has 犬鳥; the figures show boxes instead; ")
    draw(tmp_path / "grid.png", "犬 dogs")  # without a warning
    assert capfd.readouterr().err == ""


def test_many_missing_characters_are_shortened(install, capfd):
    install()
    use_fonts_for(map(chr, range(0x4E00, 0x5E00)))
    assert len(capfd.readouterr().err) < 260


def test_wide_names_have_room(tmp_path, install):
    install(make_font(tmp_path / "a.ttf", "One", "猫"))
    use_fonts_for(["猫"])
    figure = image_grid(make_images(4), [20 * "猫"] * 4)
    save(figure, tmp_path / "grid.png")
    boxes = [axes.title.get_window_extent() for axes in figure.axes[:4]]
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])
