"""Draw a sample of cats and dogs, so that the pipeline runs with nothing to download.

Fur, eyes, light, pose and surroundings come from the same distributions for both kinds. Only shapes
differ (ears, skull, snout, pupils, whiskers, tail, tongue), each by degrees and each on its own: no
single one decides, and a head on frozen features does not reach 100 %.
"""

from colorsys import hsv_to_rgb
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

SEED = 1729
KINDS = ("cat", "dog")
SUPERSAMPLING = 2  # drawn this many times larger, then reduced: antialiased edges
WIDTHS = (180, 420)  # smallest and largest, in pixels
COATS = ("#d68842 #a85820", "#8c8c92 #54545c", "#3a3638 #e4e0d8", "#926844 #543826")
COATS += ("#e2c69c #b08655", "#ece8e0 #966842", "#e8e6e2 #3e3a3c", "#ac764c #f0e8da")
EYES = ("#70963e", "#ce9c2e", "#684222", "#5c8cb0", "#94622c")
INK, PINK, WHITE = "#261e1e", "#e29698", "#f6f4f0"


def draw_sample(folder: Path, pictures: int = 300, size: tuple[int, int] = WIDTHS) -> None:
    """Write `folder`/cats/cat.0000.jpg … and `folder`/dogs/dog.0000.jpg …, the same in every run.

    Args:
        pictures: how many of each kind; picture i does not depend on it.
        size: smallest and largest width in pixels; the height is 0.7 to 1.3 of the width.
    """
    for label, kind in enumerate(KINDS):
        target = Path(folder) / f"{kind}s"
        target.mkdir(parents=True, exist_ok=True)
        for index in range(pictures):
            picture = draw_animal(np.random.default_rng([SEED, label, index]), kind, size)
            picture.save(target / f"{kind}.{index:04d}.jpg", quality=90)


def draw_animal(rng, kind: str, size: tuple[int, int] = WIDTHS) -> Image.Image:
    """Draw one `kind` ("cat" or "dog") as an RGB image."""
    width = int(rng.integers(*size, endpoint=True))
    height = int(width * rng.uniform(0.7, 1.3))
    image = background(rng, width, height)
    radius = min(image.size) * rng.uniform(0.16, 0.38)
    centre = rng.uniform((0.25, 0.25), (0.75, 0.6)) * image.size
    coat = fur(rng, width, height, radius / SUPERSAMPLING)
    # How doglike each part is, 0 to 1: few are wholly so, and some slip towards the other kind.
    ears, skull, snout, pupils, whiskers, tail = np.abs((kind == "dog") - rng.beta(1.2, 6, 6))
    turn = rng.uniform(-0.5, 0.5)  # of the head, to the side: what is nearer to us moves more
    draw_body(rng, Pen(image, coat, centre, radius, rng.normal(0, 0.08)), tail)
    pen = Pen(image, coat, centre, radius, rng.normal(0, 0.25))
    if ears < 0.5:
        draw_ears(rng, pen, ears, -0.15 * turn)
    draw_skull(pen, skull)
    if ears >= 0.5:  # hanging ears are in front
        draw_ears(rng, pen, ears, -0.15 * turn)
    draw_eyes(rng, pen, pupils, 0.3 * turn)
    tongue = rng.random() < (0.4 if kind == "dog" else 0.05)
    draw_snout(rng, pen, snout, whiskers, turn * (0.4 + 0.35 * snout), tongue)
    if rng.random() < 0.25:
        occlude(rng, image)
    return photograph(rng, image.reduce(SUPERSAMPLING))


class Pen:
    """Draw in the animal's own units: origin between the eyes, the head's radius is 1."""

    def __init__(self, image, coat, centre, radius, angle):
        self.image, self.coat, self.centre, self.radius = image, coat, centre, radius
        cos, sin = np.cos(angle), np.sin(angle)
        self.rotation = np.array([[cos, sin], [-sin, cos]])
        self.draw = ImageDraw.Draw(image)

    def pixels(self, points):
        return np.asarray(points, float) @ self.rotation * self.radius + self.centre

    def fill(self, points, colour):
        self.draw.polygon(self.pixels(points).ravel().tolist(), fill=colour)

    def line(self, points, width=0.035, colour=INK):
        path = self.pixels(points).ravel().tolist()
        self.draw.line(path, colour, max(1, round(width * self.radius)), joint="curve")

    def fur(self, points, rim=0.05):
        """Fill an outline [N, 2] with the coat, darker along the rim and most along its foot."""
        shape = self.pixels(points)
        start = np.clip(shape.min(axis=0) - 2, 0, self.image.size).astype(int)
        end = np.clip(shape.max(axis=0) + 2, 0, self.image.size).astype(int)
        if (start >= end).any():  # wholly outside the picture
            return
        texture = self.coat.crop((*start, *end))
        middle = shape.mean(axis=0) - (0, rim / 2 * self.radius)
        lit = middle + (shape - middle) * (1 - rim)
        for outline, paint in ((shape, texture.point(lambda v: v * 0.72)), (lit, texture)):
            mask = Image.new("L", texture.size)
            ImageDraw.Draw(mask).polygon((outline - start).ravel().tolist(), fill=255)
            self.image.paste(paint, tuple(start.tolist()), mask)


def ellipse(x, y, rx, ry):
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([x + rx * np.cos(t), y + ry * np.sin(t)], axis=1)


def smooth(points, rounds=3):
    """Cut the corners of a closed outline [N, 2] (Chaikin's algorithm)."""
    points = np.asarray(points, float)
    for _ in range(rounds):
        after = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], axis=1)
        points = points.reshape(-1, 2)
    return points


def mirrored(*right, x=0.0):
    """Close the right half of an outline, from top to bottom, with its mirror image about `x`."""
    half = np.asarray(right, float)
    return smooth(np.concatenate([half, half[::-1] * (-1, 1)])) + (x, 0)


def draw_body(rng, pen, tail):
    """Draw a sitting body, its tail long and curled at 0, short and tapering at 1."""
    wide, long = rng.uniform(0.75, 1.05), rng.uniform(2.4, 3.1)
    t = np.linspace(0, 1, 14)
    bend = rng.uniform(0.1, 0.35) * (1 - tail) * np.sin(2 * np.pi * t)
    x, y = 0.8 * wide + (1.4 - 0.5 * tail) * t + bend, long - 0.3 - (1.7 - 0.6 * tail) * t
    thick = np.linspace(0.15 + 0.06 * tail, 0.11 - 0.06 * tail, 14)
    side = np.array([rng.choice([-1, 1]), 1])
    upper, lower = np.stack([x - thick, y - thick], 1), np.stack([x + thick, y + thick], 1)
    pen.fur(smooth(np.concatenate([upper, lower[::-1]])) * side)
    trunk = (0.8 * wide, 1.4), (1.1 * wide, long - 0.3), (0.8 * wide, long + 0.1)
    pen.fur(mirrored((0.45, 0.3), *trunk))
    for x in (-0.36, 0.36):
        pen.fur(mirrored((0.25, 1.5), (0.21, long), x=x))
        pen.fur(ellipse(x, long + 0.05, 0.3, 0.2))
        for toe in (x - 0.09, x + 0.09):
            pen.line([(toe, long + 0.02), (toe, long + 0.18)], 0.025)
    if rng.random() < 0.4:  # a collar
        ring = smooth([(-0.65, 0.7), (0, 1), (0.65, 0.7), (0.68, 0.95), (0, 1.25), (-0.68, 0.95)])
        pen.fill(ring, tint(rng, 0.6, 0.5))
        pen.fill(ellipse(0, 1.25, 0.14, 0.14), "#e0b846")


def draw_skull(pen, long):
    """Draw a head that is wide at `long` 0 and narrow at 1."""
    cheek, jaw = (1.13 - 0.32 * long, 0.38), (0.54, 0.92 + 0.22 * long)
    pen.fur(mirrored((0.54, -0.92), (1.08 - 0.16 * long, -0.32), cheek, jaw))


def draw_ears(rng, pen, droop, x):
    """Draw ears that are pointed and upright at `droop` 0, stand out midway and hang at 1."""
    long, wide = rng.uniform(0.75, 0.95) + 0.4 * droop, rng.uniform(0.36, 0.44)
    blunt = 0.12 + 0.7 * droop
    half = [(0.9, -0.1), (0.95, 0.35), (0.35 + 0.75 * blunt, 0.75), (0.7 * blunt, 1)]
    ear = mirrored(*half) * (wide, long)
    for side in (-1, 1):
        angle = np.radians(-72 + 150 * droop + rng.normal(0, 8))
        cos, sin = np.cos(angle), np.sin(angle)
        axes = np.array([[-side * sin, cos], [side * cos, sin]])
        base = (side * (0.6 + 0.12 * droop) + x, -0.6)
        pen.fur(ear @ axes + base, 0.1)
        if droop < 0.5:
            pen.fill(ear * 0.62 @ axes + base, PINK)


def draw_eyes(rng, pen, roundness, x):
    """Draw slanted eyes with slit pupils at `roundness` 0, level ones with round pupils at 1."""
    iris, radius, apart = rng.choice(EYES), rng.uniform(0.17, 0.24), rng.uniform(0.36, 0.44)
    gaze, pupil = rng.uniform(-0.05, 0.05), radius * (0.18 + 0.55 * roundness)
    for side in (-1, 1):
        eye = np.array([side * apart + x, -0.1])
        lens = ellipse(0, 0, radius * 1.15, radius * rng.uniform(0.8, 1))
        lens[:, 1] -= 0.35 * (1 - roundness) * side * lens[:, 0]
        pen.fill(lens * 1.15 + eye, INK)
        pen.fill(lens + eye, iris)
        pen.fill(ellipse(gaze, 0, pupil, max(pupil, radius * 0.8)) + eye, INK)
        pen.fill(ellipse(gaze - 0.06, -0.07, 0.045, 0.045) + eye, WHITE)


def draw_snout(rng, pen, snout, bare, x, tongue):
    """Draw muzzle, nose and mouth, larger with `snout`, and whiskers, shorter with `bare`."""
    y, wide, high = 0.4 + 0.12 * snout, 0.24 + 0.14 * snout, 0.22 + 0.2 * snout
    if tongue:
        pen.fill(mirrored((0.16, y + high * 0.6), (0.18, y + high + 0.35), x=x), "#e06c76")
    if snout > 0.4:  # the bridge between the eyes and a long muzzle
        left, right = (x / 2 - 0.2, -0.1), (x / 2 + 0.2, -0.1)
        pen.fur(smooth([left, right, (x + wide, y + 0.1), (x - wide, y + 0.1)]))
    pale, nose = rng.random() < 0.6, 0.11 + 0.14 * snout
    for side in (-1, 1):
        cheek = ellipse(x + side * wide * 0.75, y + 0.05, wide, high)
        if pale:
            pen.fill(cheek, WHITE)
        else:
            pen.fur(cheek, 0.1)
    corner = (0.7, 0.1 + 0.5 * snout)
    tip = mirrored((1, -0.5), corner, (0, 0.9)) * nose + (x, y - high * 0.55)
    pen.fill(tip, rng.choice([INK, "#c47070"]))
    lip, t = y + high * 0.5, np.linspace(0, np.pi * 0.8, 8)
    pen.line([(x, y - high * 0.5), (x, lip)])
    bends = rng.normal(0, 0.06, (2, 3))
    for side, bend in zip((-1, 1), bends, strict=True):
        pen.line(np.stack([x + side * wide * 0.6 * (1 - np.cos(t)), lip + 0.12 * np.sin(t)], 1))
        for lift, tip in zip((-0.18, 0, 0.18), bend, strict=True):
            start = np.array([x + side * wide, y + 0.4 * lift])
            if bare < 0.75:
                pen.line([start, start + (side * 1.1 * (1 - bare), lift + tip)], 0.022, WHITE)


def tint(rng, saturation, value):
    """Draw a colour of any hue, at least this saturated and this bright."""
    hsv = rng.uniform((0, saturation, value), (1, saturation + 0.45, value + 0.45))
    return tuple(int(255 * channel) for channel in hsv_to_rgb(*np.minimum(hsv, 1)))


def grid(width, height):
    """Return the pixels' x [1, width] and y [height, 1]."""
    return np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]


def clouds(rng, width, height, cell):
    """Return smooth noise [height, width], about 0 to 1, with bumps of `cell` pixels."""
    dots = rng.random((int(height / cell) + 2, int(width / cell) + 2), dtype=np.float32)
    return np.asarray(Image.fromarray(dots).resize((width, height), Image.Resampling.BICUBIC))


def blend(first, second, amount):
    """Mix two colours by `amount` [height, width], limited to 0 to 1, into an image to draw on."""
    grey = Image.fromarray((np.clip(amount, 0, 1) * 255).astype(np.uint8))
    size = [SUPERSAMPLING * side for side in grey.size]
    return ImageOps.colorize(grey, first, second).resize(size, Image.Resampling.NEAREST)


def fur(rng, width, height, radius):
    """Return a coat as large as the canvas: shaded, striped, patched or spotted."""
    noise = clouds(rng, width, height, radius * rng.choice([0.3, 0.6, 1.1]))
    x, y = grid(width, height)
    slope, waves = rng.uniform((-0.5, 9), (0.5, 14)).astype(np.float32)
    stripes = 2 * np.sin((y + slope * x) * (waves / np.float32(radius)) + 5 * noise)
    amount = (0.4 * noise, stripes, 12 * noise - 6.6)[rng.integers(3)]
    return blend(*rng.choice(COATS).split(), amount)


def background(rng, width, height):
    """Draw a gradient, blots, stripes or tiles, above a carpet or a meadow or all over."""
    x, y = grid(width, height)
    step, slope = rng.uniform((0.05 * width, -1), (0.16 * width, 1)).astype(np.float32)
    gradient = y / height + slope * (x / width - 0.5)
    blots = 1.4 * clouds(rng, width, height, 2.5 * step) - 0.2
    stripes, tiles = (x + slope * y) // step % 2, (x // step + y // step) % 2
    wall = (gradient, blots, stripes, tiles)[rng.integers(4)]
    image = blend(tint(rng, 0.05, 0.4), tint(rng, 0.05, 0.4), wall)
    top, ground = int(height * rng.uniform(0.5, 0.9)), rng.integers(3)
    if ground:
        light, dark = ("#508c3c", "#305424") if ground == 2 else (tint(rng, 0.05, 0.4), "#605850")
        floor = blend(light, dark, 0.6 * clouds(rng, width, height - top, 8))
        image.paste(floor, (0, top * SUPERSAMPLING))
    if ground == 2:
        draw_grass(rng, image, top * SUPERSAMPLING)
    return image


def draw_grass(rng, image, top):
    width, height = image.size
    lowest, highest = (0, top, -0.03, 0.5), (width, 1.1 * height, 0.03, 1.2)
    for x, y, lean, shade in rng.uniform(lowest, highest, (250, 4)):
        blade = (x, y, x + lean * width, y - 0.09 * width, x + 0.012 * width, y)
        ImageDraw.Draw(image).polygon(blade, tuple(int(shade * v) for v in (80, 140, 60)))


def occlude(rng, image):
    """Cover a part with grass, a post or a ball."""
    width, height = image.size
    pen, colour = ImageDraw.Draw(image), tint(rng, 0.2, 0.25)
    x, r = rng.uniform(0, width), rng.uniform(0.15, 0.3) * width
    thing = rng.integers(3)
    if thing == 0:
        draw_grass(rng, image, 0.8 * height)
    elif thing == 1:
        pen.rectangle((x, 0, x + 0.3 * r, height), fill=colour)
    else:
        pen.ellipse((x - r, height - 0.9 * r, x + r, height + 1.1 * r), fill=colour)


def photograph(rng, image):
    """Add blur, uneven light, a colour cast and sensor noise."""
    blur = rng.gamma(1.2, 0.6) * image.width / 300
    if blur > 0.5:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    x, y = grid(*image.size)
    slope = rng.uniform(-0.7, 0.7, 2).astype(np.float32) / image.size
    light = 1 + slope[0] * (x - image.width / 2) + slope[1] * (y - image.height / 2)
    noise = rng.standard_normal((*light.shape, 1), np.float32) * np.float32(rng.uniform(1, 12))
    cast = np.float32(rng.uniform(0.65, 1.2) * rng.uniform(0.9, 1.1, 3))
    pixels = np.asarray(image) * light.astype(np.float32)[..., None] * cast + noise
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
