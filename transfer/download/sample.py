"""Draw a sample of cats and dogs, so that the pipeline runs without a download.

Fur, eyes, light, pose and background have the same distributions for both kinds. Only shapes differ
(ears, skull, snout, pupils, whiskers, tail), each by degrees and independently of the others: no
single shape decides, and a head on frozen features does not reach 100 %.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFilter, ImageOps

SEED = 1729
KINDS = ("cat", "dog")
WIDTHS = (180, 420)  # smallest and largest, in pixels
SUPERSAMPLING = 2  # images are drawn so many times larger, then reduced: antialiased edges
COATS = ("#d68842 #a85820", "#8c8c92 #54545c", "#3a3638 #e4e0d8", "#926844 #543826")
COATS += ("#e2c69c #b08655", "#ece8e0 #966842", "#e8e6e2 #3e3a3c", "#ac764c #f0e8da")
EYES = ("#70963e", "#ce9c2e", "#684222", "#5c8cb0", "#94622c")
INK, RIM, PINK, WHITE = "#261e1e", "#4a4040", "#e29698", "#f6f4f0"
Rng = np.random.Generator


def draw_sample(folder: Path, images_per_kind: int = 300, widths: tuple[int, int] = WIDTHS) -> None:
    """Write `folder`/cats/cat.0000.jpg … and `folder`/dogs/dog.0000.jpg …, the same in every run.

    Args:
        folder: Made if it does not exist.
        images_per_kind: Number of cats and of dogs; an image does not depend on it.
        widths: Smallest and largest width in pixels; the height is 0.7 to 1.3 times the width.
    """
    for label, kind in enumerate(KINDS):
        (folder / f"{kind}s").mkdir(parents=True, exist_ok=True)
        for index in range(images_per_kind):
            image = draw_animal(np.random.default_rng([SEED, label, index]), kind, widths)
            image.save(folder / f"{kind}s" / f"{kind}.{index:04d}.jpg", quality=90)


def draw_animal(rng: Rng, kind: str, widths: tuple[int, int] = WIDTHS) -> Image.Image:
    """Draw one `kind` ("cat" or "dog") as an RGB image; `widths` as in `draw_sample`."""
    width = int(rng.integers(*widths, endpoint=True))
    size = (width, int(width * rng.uniform(0.7, 1.3)))
    radius = min(size) * rng.uniform(0.16, 0.38)
    pen = Pen(background(rng, size), fur(rng, size, radius), radius)
    pen.move(rng.uniform((0.25, 0.25), (0.75, 0.6)) * size, rng.normal(0, 0.08))
    # How doglike each shape is, 0 to 1: few are wholly so, and some slip towards the other kind.
    ears, skull, snout, pupils, whiskers, tail = np.abs((kind == "dog") - rng.beta(1.2, 6, 6))
    turn = rng.uniform(-0.5, 0.5)  # of the head, to the side: what is nearer to us moves more
    draw_body(rng, pen, tail)
    pen.move(pen.centre, rng.normal(0, 0.25))
    if ears < 0.5:
        draw_ears(rng, pen, ears, -0.15 * turn)
    pen.fill(blob(0, 0.05, 1.12 - 0.2 * skull, 0.95 + 0.2 * skull, taper=0.25 * skull))
    if ears >= 0.5:  # hanging ears are in front of the skull
        draw_ears(rng, pen, ears, -0.15 * turn)
    draw_eyes(rng, pen, pupils, 0.3 * turn)
    draw_snout(rng, pen, snout, whiskers, turn * (0.4 + 0.35 * snout))
    if rng.random() < 0.25:  # a ball in front, or beside
        x, y, r = rng.uniform((0, 0.6, 0.1), (1, 1, 0.25)) * pen.image.width
        pen.draw.ellipse((x - r, y - r, x + r, y + r), tint(rng))
    return photograph(rng, pen.image.reduce(SUPERSAMPLING))


class Pen:
    """Draw in the animal's units: the origin is between the eyes, the radius of the head is 1."""

    def __init__(self, image: Image.Image, coat: Image.Image, radius: float) -> None:
        self.image, self.coat, self.radius = image, coat, radius * SUPERSAMPLING
        self.draw = ImageDraw.Draw(image)

    def move(self, centre: np.ndarray, angle: float) -> None:
        """Put the origin at `centre`, in pixels of the result; rotate by `angle`, in radians."""
        self.centre, (cos, sin) = centre, (np.cos(angle), np.sin(angle))
        self.rotation = np.array([[cos, sin], [-sin, cos]])

    def pixels(self, points: np.ndarray) -> list[float]:
        """Return x and y in the canvas of each of some points [N, 2], one after the other."""
        path = points @ self.rotation * self.radius + self.centre * SUPERSAMPLING
        return path.ravel().tolist()

    def line(self, points: np.ndarray, width: float = 0.035, colour: str = INK) -> None:
        """Draw a line through points [N, 2]."""
        self.draw.line(self.pixels(points), colour, round(width * self.radius) + 1, "curve")

    def fill(self, outline: np.ndarray, colour: str | None = None) -> None:
        """Fill an outline [N, 2] with a colour, or with the coat and a dark rim."""
        if colour:
            self.draw.polygon(self.pixels(outline), colour)
            return
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).polygon(self.pixels(outline), 255)
        self.image.paste(self.coat, mask=mask)
        self.line(np.append(outline, outline[:1], axis=0), 0.03, RIM)


def blob(
    x: float, y: float, rx: float, ry: float, angle: float = 0.0, taper: float = 0.0
) -> np.ndarray:
    """Return the outline of an ellipse, [N, 2].

    Args:
        x: Centre, to the right.
        y: Centre, downwards.
        rx: Radius to the side.
        ry: Radius up and down.
        angle: Rotation in radians.
        taper: How much narrower its lower end is: 0 an ellipse, 1 pointed.
    """
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    points = np.stack([rx * np.cos(t) * (1 - taper * np.sin(t)), ry * np.sin(t)], axis=1)
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]]) + (x, y)


def draw_body(rng: Rng, pen: Pen, tail: float) -> None:
    """Draw a sitting body, its tail long at 0 and short at 1."""
    wide, side = rng.uniform(0.75, 1.05), rng.choice([-1, 1])
    long = 1.1 - 0.6 * tail
    pen.fill(blob(side * (wide + 0.35 * long), 2.4 - long, 0.16, long, side * 0.6, -0.3 * tail))
    pen.fill(blob(0, 1.9, wide, 1.3, taper=-0.35))
    for x in (-0.36, 0.36):
        pen.fill(blob(x, 2.5, 0.24, 0.7))


def draw_ears(rng: Rng, pen: Pen, droop: float, x: float) -> None:
    """Draw ears that are pointed and upright at `droop` 0, stand out midway and hang at 1."""
    wide, long = rng.uniform((0.32, 0.4), (0.42, 0.5)) + (0, 0.2 * droop)
    for side in (-1, 1):
        angle = np.radians(-72 + 150 * droop + rng.normal(0, 8))  # of the tip, above level
        tip = np.array([side * np.cos(angle), np.sin(angle)]) * long
        middle = tip + (side * (0.6 + 0.12 * droop) + x, -0.6)
        for size, colour in ((1, None), (0.6, PINK))[: 1 + (droop < 0.5)]:
            shape = wide * size, long * size * 1.2, side * (angle - np.pi / 2), 0.9 - 1.2 * droop
            pen.fill(blob(*middle, *shape), colour)


def draw_eyes(rng: Rng, pen: Pen, roundness: float, x: float) -> None:
    """Draw slanted eyes with slit pupils at `roundness` 0, level ones with round pupils at 1."""
    iris, radius, apart = rng.choice(EYES), rng.uniform(0.17, 0.24), rng.uniform(0.36, 0.44)
    gaze, pupil = rng.uniform(-0.05, 0.05), radius * (0.18 + 0.55 * roundness)
    for side in (-1, 1):
        eye = side * apart + x
        for size, colour in ((1.2, INK), (1, iris)):
            lens = radius * size * np.array([1.15, 0.9])
            pen.fill(blob(eye, -0.1, *lens, -0.35 * (1 - roundness) * side), colour)
        pen.fill(blob(eye + gaze, -0.1, pupil, radius * 0.8), INK)
        pen.fill(blob(eye + gaze - 0.06, -0.17, 0.045, 0.045), WHITE)


def draw_snout(rng: Rng, pen: Pen, snout: float, bare: float, x: float) -> None:
    """Draw muzzle, nose and mouth, larger with `snout`, and whiskers, shorter with `bare`."""
    y, wide, high = 0.4 + 0.12 * snout, 0.24 + 0.14 * snout, 0.22 + 0.2 * snout
    colour, nose = rng.choice([None, WHITE]), 0.11 + 0.14 * snout
    for side in (-1, 1):
        pen.fill(blob(x + side * wide * 0.75, y + 0.05, wide, high), colour)
    pen.fill(blob(x, y - high * 0.5, nose, nose * 0.8, taper=0.5), rng.choice([INK, "#c47070"]))
    bends = rng.normal(0, 0.06, (2, 3))
    for side, bend in zip((-1, 1), bends, strict=True):
        smile = np.array([(0, -0.5), (0, 0.5), (0.4, 0.9), (0.9, 0.8)]) * (side * wide, high)
        pen.line(smile + (x, y))
        for lift, tip in zip((-0.18, 0, 0.18), bend, strict=True):
            start = np.array([x + side * wide, y + 0.4 * lift])
            if bare < 0.75:
                end = start + (side * 1.1 * (1 - bare), lift + tip)
                pen.line(np.stack([start, end]), 0.022, WHITE)


def tint(rng: Rng) -> tuple[int, int, int]:
    """Draw a colour of any hue."""
    hsv = rng.uniform((0, 5, 40), (360, 50, 85))
    return ImageColor.getrgb("hsv({:.0f}, {:.0f}%, {:.0f}%)".format(*hsv))


def clouds(rng: Rng, size: tuple[int, int], cell: float) -> np.ndarray:
    """Return smooth noise, float32 [height, width], about 0 to 1, with bumps of `cell` pixels."""
    columns, rows = (int(side / cell) + 2 for side in size)
    dots = Image.fromarray(rng.random((rows, columns), dtype=np.float32))
    return np.asarray(dots.resize(size, Image.Resampling.BICUBIC))


def blend(colours: Sequence, amount: np.ndarray) -> Image.Image:
    """Mix two colours by `amount` [height, width], clipped to 0 to 1, into an image to draw on."""
    grey = Image.fromarray((np.clip(amount, 0, 1) * 255).astype(np.uint8))
    size = [SUPERSAMPLING * side for side in grey.size]
    return ImageOps.colorize(grey, *colours).resize(size, Image.Resampling.NEAREST)


def fur(rng: Rng, size: tuple[int, int], radius: float) -> Image.Image:
    """Return a coat as large as the canvas: shaded, striped or patched."""
    y, x = np.mgrid[: size[1], : size[0]]
    noise = clouds(rng, size, radius * rng.choice([0.3, 0.6, 1.1]))
    slope, waves = rng.uniform((-0.5, 9), (0.5, 14))
    stripes = 2 * np.sin((y + slope * x) * waves / radius + 5 * noise)
    amount = (0.4 * noise, stripes, 12 * noise - 6.6)[rng.integers(3)]
    return blend(rng.choice(COATS).split(), amount)


def background(rng: Rng, size: tuple[int, int]) -> Image.Image:
    """Draw a gradient, blots, stripes or tiles."""
    y, x = np.mgrid[: size[1], : size[0]]
    step, slope = rng.uniform((0.05 * size[0], -1), (0.16 * size[0], 1))
    gradient = y / size[1] + slope * (x / size[0] - 0.5)
    blots = 1.4 * clouds(rng, size, 2.5 * step) - 0.2
    stripes, tiles = (x + slope * y) // step % 2, (x // step + y // step) % 2
    return blend((tint(rng), tint(rng)), (gradient, blots, stripes, tiles)[rng.integers(4)])


def photograph(rng: Rng, image: Image.Image) -> Image.Image:
    """Add blur, uneven light, a colour cast and sensor noise."""
    blurred = image.filter(ImageFilter.GaussianBlur(rng.gamma(1.2, 0.6) * image.width / 300))
    y, x = np.mgrid[: image.height, : image.width]
    slope = rng.uniform(-0.7, 0.7, 2)
    light = 1 + slope[0] * (x / image.width - 0.5) + slope[1] * (y / image.height - 0.5)
    cast = rng.uniform(0.65, 1.2) * rng.uniform(0.9, 1.1, 3)
    noise = rng.standard_normal((*light.shape, 1), np.float32) * rng.uniform(1, 12)
    pixels = np.asarray(blurred) * light[..., None] * cast + noise
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
