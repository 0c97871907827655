"""The look of all figures, and how they are saved."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unicodedata import east_asian_width

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.style import context
from PIL import Image

from transfer.core.files import replacing
from transfer.core.parallel import CORES

# The palette of Okabe and Ito, whose colours remain distinct in the common colour blindnesses.
COLORS = {
    "training": "#0072B2",
    "validation": "#E69F00",
    "head": "#56B4E9",
    "fine-tuned": "#D55E00",
    "uncalibrated": "#999999",
    "right": "#00735A",
    "wrong": "#D55E00",
}
STYLE = {
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "axes.titlesize": 11,
    "axes.titlepad": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#777777",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "legend.frameon": False,
    # Class names and paths are text, even with a dollar sign in them.
    "text.parse_math": False,
}
REFERENCE = {"color": "#777777", "ls": "--", "lw": 1, "zorder": 1}
# Draws the whole marker of a point on the limit of an axis. The layout ignores such a line: an
# unclipped line without a finite point would upset it.
UNCLIPPED = {"clip_on": False, "in_layout": False}
GLYPH_WIDTH = 0.62  # mean width of a character, as a fraction of the font size

WIDE = 1.7  # of a Chinese character, as a multiple of that


def count_columns(text: str) -> float:
    """Return how wide a text is, in mean characters."""
    return sum(WIDE if east_asian_width(c) in "WF" else 1 for c in text)


styled = context(["default", STYLE])  # a decorator of functions that draw


def save(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG of 256 colours, whole or not at all, the same bytes each time."""
    _write(_draw(figure), path)


def save_all(figures: dict[Path, Figure]) -> None:
    """Write each figure as `save` does, by its path; all cores choose colours at a time."""
    images = map(_draw, figures.values())
    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(_write, images, figures))  # raises what a thread has raised


@styled
def _draw(figure: Figure) -> Image.Image:
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # `use_fonts_for` has named them, once.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        canvas.draw()
    # A second layout, starting from the first, would move everything by a fraction of a pixel.
    figure.set_layout_engine("none")
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image.info["dpi"] = figure.dpi, figure.dpi
    return image


def _write(image: Image.Image, path: Path) -> None:
    # k-means, until fewer than 10,000 pixels change their colour, avoids bands in photos.
    reduced = image.quantize(256, kmeans=10_000)
    with replacing(path) as temporary:
        reduced.save(temporary, format="PNG", optimize=True, dpi=image.info["dpi"])
