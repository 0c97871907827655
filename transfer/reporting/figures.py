"""Draw the report's figures: arrays in, a matplotlib Figure out."""

import textwrap

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.style import context
from matplotlib.ticker import MaxNLocator
from PIL import Image
from sklearn import metrics

from transfer.core.files import replacing
from transfer.evaluation.metrics import calibration_error, one_against_rest, reliability_bins

# Okabe and Ito's palette, which stays distinct under the common colour-blindnesses.
COLORS = {
    "training": "#0072B2",
    "validation": "#E69F00",
    "head": "#56B4E9",
    "fine-tuned": "#D55E00",
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
# A pixel of 256 colours takes half a byte in a PNG of photos, one in noise: at most 292 kB.
PHOTO_PIXELS = 9 * 180**2
REFERENCE = {"color": "#777777", "ls": "--", "lw": 1, "zorder": 1}
# Draw a marker whole on an axis' limit; unclipped lines without a point would upset the layout.
WHOLE = {"clip_on": False, "in_layout": False}
# Mean width of a character in units of the font size.
GLYPH = 0.62

styled = context(["default", STYLE])


@styled
def learning_curves(head, fine_tune):
    """Plot accuracy and loss over the epochs of both phases.

    Args:
        head, fine_tune: dicts of equally long lists: epoch, accuracy, loss, val_accuracy, val_loss.
    """
    figure = Figure(figsize=(11, 4.4))
    epochs = [*head["epoch"], *fine_tune["epoch"]]
    for axes, metric in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for label, key in (("training", metric), ("validation", f"val_{metric}")):
            values = [*head[key], *fine_tune[key]]
            axes.plot(epochs, values, "o-", ms=4, color=COLORS[label], label=label, **WHOLE)
        bottom, top = axes.get_ylim()
        axes.set_ylim(max(bottom, 0), min(top, 1) if metric == "accuracy" else top)
        if head["epoch"] and fine_tune["epoch"]:
            start = (head["epoch"][-1] + fine_tune["epoch"][0]) / 2
            axes.axvline(start, label="start of fine-tuning", **REFERENCE)
        if epochs:
            axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, nbins=10))
        axes.set(xlabel="epoch", ylabel=metric)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


@styled
def confusion_matrix(labels, predictions, class_names):
    """Plot counts and row percentages; colour alone beyond 20 classes.

    Args:
        labels, predictions: int [N], indices into class_names.
    """
    n = len(class_names)
    counts = np.bincount(np.asarray(labels) * n + predictions, minlength=n * n).reshape(n, n)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [name if len(name) <= 24 else f"{name[:23]}…" for name in map(str, class_names)]
    side = np.clip(0.55 * n, 3, 9.5)
    cell = 72 * side / n
    size = min(10, 0.75 * cell)
    longest = max(map(len, names)) * GLYPH * size
    turned = longest > cell
    width = side + longest / 72 + (1.8 if n > 20 else 0.6)
    figure = Figure(figsize=(width, side + (longest / 72 if turned else 0.2) + 0.8))
    axes = figure.subplots()
    # The square root keeps one mistake among many pictures visible.
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    axes.set_xticks(range(n), names, size=size, rotation=90 if turned else 0)
    axes.set_yticks(range(n), names, size=size)
    if n <= 20:
        size = min(12, 0.85 * cell / (GLYPH * max(len("100.0%"), len(str(counts.max())))))
        for (row, column), share in np.ndenumerate(shares):
            count = counts[row, column]
            text = f"{count}\n{share:.1%}" if count else "0"
            color = "white" if share > 0.3 else "#333333" if count else "#AAAAAA"
            axes.text(column, row, text, ha="center", va="center", size=size, color=color)
    else:
        figure.colorbar(image, shrink=0.6, format="{x:.0%}", label="share of the true class")
    axes.set(xlabel="predicted class", ylabel="true class")
    accuracy = np.trace(counts) / max(counts.sum(), 1)
    axes.set_title(f"accuracy {accuracy:.3f}, N = {counts.sum()}")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.grid(False)
    return figure


@styled
def roc_and_precision_recall(labels, curves):
    """Plot the ROC (left) and precision-recall curves (right), the perfect corner magnified.

    Args:
        labels: int [N].
        curves: dict of model name -> probabilities [N, C]; class 1 is the positive one where C is
            2, and the classes are micro-averaged, one against the rest, where C is larger.
    """
    figure = Figure(figsize=(11, 5.2))
    left, right = figure.subplots(1, 2)
    roc, precision_recall = {}, {}
    for name, probabilities in curves.items():
        classes = probabilities.shape[1]
        truth, score = one_against_rest(labels, probabilities)
        if len(np.unique(truth)) < 2:
            continue
        area = metrics.roc_auc_score(truth, score)
        roc[name] = *metrics.roc_curve(truth, score)[:2], f"{name}, AUC {area:.4f}"
        y, x, _ = metrics.precision_recall_curve(truth, score, drop_intermediate=True)
        area = metrics.average_precision_score(truth, score)
        precision_recall[name] = x, y, f"{name}, AP {area:.4f}"
    average = f", micro-average of {classes} classes" if classes > 2 else ""
    left.set(title=f"ROC{average}", xlabel="false positive rate", ylabel="true positive rate")
    right.set(title=f"Precision and recall{average}", xlabel="recall", ylabel="precision")
    _draw_curves(left, roc, 0, "default")
    _draw_curves(right, precision_recall, 1, "steps-post")
    if roc:
        left.plot([0, 1], [0, 1], label="chance", **REFERENCE)
        left.legend(loc="lower right")
        right.legend(loc="lower left")
    return figure


def _draw_curves(axes, curves, corner, style):
    """Draw curves whose ideal is the point (corner, 1), with an inset there if all come near."""
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    if not curves:
        axes.text(0.5, 0.5, "undefined: the labels are all of one class", ha="center")
        return
    panels = [axes]
    distance = max(np.maximum(abs(x - corner), 1 - y).min() for x, y, _ in curves.values())
    if distance < 0.12:
        span = max(3 * distance, 0.02)
        xlim = (1 - span, 1 + 0.05 * span) if corner else (-0.05 * span, span)
        bounds = (0.1 if corner else 0.36, 0.36, 0.54, 0.5)
        inset = axes.inset_axes(bounds, xlim=xlim, ylim=(1 - span, 1 + 0.05 * span))
        inset.tick_params(labelsize=8)
        inset.locator_params(nbins=4)
        inset.spines[:].set_visible(True)
        axes.indicate_inset_zoom(inset, edgecolor=REFERENCE["color"])
        panels.append(inset)
    for index, (name, (x, y, label)) in enumerate(curves.items()):
        # Each curve is thinner than the one beneath it, so that equal curves all show.
        line = {"color": COLORS.get(name, f"C{index}"), "lw": 3 / (1 + index), "drawstyle": style}
        for panel in panels:
            panel.plot(x, y, label=label, **line)


@styled
def reliability(labels, curves, bins=10):
    """Plot accuracy against confidence, and below it how many predictions have that confidence.

    Args:
        labels: int [N].
        curves: dict of model name -> probabilities [N, C].
    """
    figure = Figure(figsize=(7, 6.4))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], label="perfectly calibrated", **REFERENCE)
    colors = [COLORS.get(name, f"C{index}") for index, name in enumerate(curves)]
    for color, (name, probabilities) in zip(colors, curves.items(), strict=True):
        binned = reliability_bins(labels, probabilities, bins)
        label = f"{name}, ECE {calibration_error(labels, probabilities, bins):.3f}"
        x, y = binned["confidence"], binned["accuracy"]
        upper.plot(x, y, "o-", color=color, label=label, **WHOLE)
    confidences = [probabilities.max(axis=1).clip(0, 1) for probabilities in curves.values()]
    lower.hist(confidences, bins, range=(0, 1), rwidth=0.9, color=colors)
    for container in lower.containers:
        lower.bar_label(container, fmt=lambda count: f"{count:.0f}" if count else "", size=7)
    # The largest of C probabilities is at least 1 / C.
    start = np.floor(bins / probabilities.shape[1]) / bins
    upper.set(ylim=(0, 1), ylabel="accuracy", title="Reliability")
    lower.set(xlim=(start, 1), xlabel="confidence", ylabel="pictures")
    lower.margins(y=0.15)
    upper.legend()
    return figure


@styled
def image_grid(images, titles, colors=None, columns=3, title=None):
    """Plot pictures in rows, or the word "none" where there are none.

    Args:
        images: uint8 [N, H, W, 3].
        titles: N strings; lines that are too long are wrapped.
        colors: N colours of titles and frames.
    """
    rows = max(-(-len(images) // columns), 1)
    ratio = images[0].shape[0] / images[0].shape[1] if len(images) else 0.3
    width = np.sqrt(PHOTO_PIXELS / (rows * columns * ratio)).clip(90, 260) / STYLE["figure.dpi"]
    wrap = textwrap.TextWrapper(int(width * 72 / (GLYPH * 9))).fill
    titles = ["\n".join(map(wrap, text.split("\n"))) for text in titles]
    lines = max((text.count("\n") + 1 for text in titles), default=0)
    height = width * ratio + lines * 0.16 + 0.12
    figure = Figure(figsize=(columns * (width + 0.12), rows * height + (0.4 if title else 0)))
    if title:
        figure.suptitle(title, size=12)
    if not len(images):
        figure.text(0.5, 0.35, "none", ha="center", va="center", color=REFERENCE["color"])
        return figure
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    frame = 2 if colors else 0
    colors = colors or ["#333333"] * len(images)
    cells = zip(grid[: len(images)], images, titles, colors, strict=True)
    for axes, image, text, color in cells:
        axes.set_axis_on()
        axes.grid(False)
        axes.set(xticks=[], yticks=[])
        axes.imshow(image)
        axes.set_title(text, size=9, color=color, pad=4)
        axes.spines[:].set(visible=True, color=color, linewidth=frame)
    return figure


@styled
def save(figure, path):
    """Write the figure as a PNG of 256 colours, whole or not at all, the same bytes each time."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    # A second pass over its own result would move the layout by a fraction of a pixel.
    figure.set_layout_engine("none")
    # k-means, until fewer than 10,000 pixels change their colour, takes the bands out of photos.
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image = image.quantize(256, kmeans=10_000)
    with replacing(path) as temporary:
        image.save(temporary, format="PNG", optimize=True, dpi=(figure.dpi, figure.dpi))
