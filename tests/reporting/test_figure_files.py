"""Grids of images, and the files that figures are saved to."""

import matplotlib
import numpy as np
import pytest
from PIL import Image

from tests.helpers.figures import binary, history, make_images
from transfer.reporting import figures
from transfer.reporting.grids import GRID_PIXELS, image_grid, suspect_grid
from transfer.reporting.style import save

pytestmark = pytest.mark.filterwarnings("error")


def test_image_grid_leaves_the_rest_of_the_last_row_blank():
    images = make_images(4)
    figure = image_grid(images, list("abcd"), colors=["#ff0000"] * 4, title="Four")
    assert len(figure.axes) == 6
    assert [axes.get_title() for axes in figure.axes] == [*"abcd", "", ""]
    assert [axes.axison for axes in figure.axes] == [True] * 4 + [False] * 2
    for axes, image in zip(figure.axes[:4], images, strict=True):
        assert np.array_equal(axes.images[0].get_array(), image)
        assert axes.title.get_color() == "#ff0000"
        assert axes.spines["left"].get_edgecolor() == (1, 0, 0, 1)
    assert figure.get_suptitle() == "Four"


def test_image_grid_without_images_says_none(tmp_path):
    figure = image_grid(make_images(0), [], [], title="The worst mistakes")
    save(figure, tmp_path / "grid.png")
    assert figure.get_suptitle() == "The worst mistakes"
    assert [text.get_text() for text in figure.texts if text is not figure._suptitle] == ["none"]


def test_suspect_grid_says_why_an_image_is_in_it():
    row = {"label": "cats", "suggested": "dogs", "probability": "0.0312", "split": "train"}
    found = [
        row | {"kind": "label", "row": 3},
        row | {"kind": "twins", "row": 0, "split": "val"},
        row | {"kind": "outlier", "suggested": "", "row": 1, "split": "test"},
    ]
    images = make_images(4)
    figure = suspect_grid(images, found)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == [
        "cats → dogs\n0.03, train",
        "cats → dogs\ntwins, val",
        "cats\noutlier, test",
    ]
    for axes, suspect in zip(figure.axes[:3], found, strict=True):
        assert np.array_equal(axes.images[0].get_array(), images[suspect["row"]])
    assert [text.get_text() for text in suspect_grid(images, []).texts][-1] == "none"


def test_image_grid_titles_do_not_overlap(tmp_path):
    long = "validation/cats/a_long_folder/cat.123.jpg\ntrue cats, predicted dogs, probability 0.98"
    titles = [long, "cats\nprobability 0.98"] * 4 + [long]
    figure = image_grid(make_images(9, 40, 60), titles, title="Images")
    save(figure, tmp_path / "grid.png")
    assert figure.axes[1].get_title() == "cats\nprobability 0.98"
    boxes = [axes.title.get_window_extent() for axes in figure.axes]
    panels = [axes.get_window_extent() for axes in figure.axes]
    assert all(panel.width * panel.height > 0.9 * GRID_PIXELS / 9 for panel in panels)
    boxes += panels
    boxes.append(figure._suptitle.get_window_extent())
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:index])
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


LABELS = np.array([0, 1, 1])
CURVES = {"head": binary([0.2, 0.4, 0.9])}


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.learning_curves(history([1]), history([2])),
        lambda: figures.confusion_matrix(LABELS, LABELS, ["cats", "a longer name"]),
        lambda: figures.confusion_matrix(LABELS, LABELS, ["cats"] * 21),
        lambda: figures.roc_and_precision_recall(LABELS, CURVES),
        lambda: figures.reliability(LABELS, CURVES),
        lambda: figures.selective_answers(LABELS, CURVES),
        lambda: image_grid(make_images(4), ["cats\nlong title"] * 4, title="Four"),
    ],
)
def test_save_writes_the_same_bytes_each_time(draw, tmp_path):
    path = tmp_path / "a.png"
    figure = draw()
    save(figure, path)
    first = path.read_bytes()
    save(figure, path)
    assert path.read_bytes() == first
    user_settings = {
        "axes.grid": False,
        "font.sans-serif": ["DejaVu Serif"],
        "text.hinting": "none",
    }
    with matplotlib.rc_context(user_settings):
        save(draw(), path)
    assert path.read_bytes() == first
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_save_does_not_write_through_a_hard_link(tmp_path):
    path, link = tmp_path / "a.png", tmp_path / "cached.png"
    path.write_bytes(b"old")
    link.hardlink_to(path)
    save(image_grid(make_images(1), ["a"]), path)
    assert link.read_bytes() == b"old"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_save_keeps_the_old_file_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail(self, file, **options):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save(image_grid(make_images(1), ["a"]), path)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.png", b"old")]


def test_sizes_suit_a_report(tmp_path):
    labels = np.arange(40)
    sizes = {
        "curves": (figures.learning_curves(history(range(10)), history(range(10, 20))), 80),
        "confusion": (figures.confusion_matrix(labels, labels, ["x" * 24] * 40), 80),
        # No image takes more bytes than noise.
        "grid": (image_grid(make_images(9, 160, 160), ["cats\nprobability 0.98"] * 9), 300),
    }
    for name, (figure, kilobytes) in sizes.items():
        path = tmp_path / f"{name}.png"
        save(figure, path)
        assert path.stat().st_size <= kilobytes * 1000
        with Image.open(path) as image:
            assert image.width <= 1600
            assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_drawing_leaves_the_settings_of_matplotlib_alone(tmp_path):
    # The backend is left out: reading it would choose one.
    names = [name for name in matplotlib.rcParams if name != "backend"]
    before = [matplotlib.rcParams[name] for name in names]
    save(image_grid(make_images(1), ["a"]), tmp_path / "a.png")
    assert [matplotlib.rcParams[name] for name in names] == before
