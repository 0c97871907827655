"""Draw the figures of the metrics: arrays in, a matplotlib Figure out."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn import metrics
from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay

from transfer.evaluation.metrics import (
    BINS,
    answered_at_least,
    calibration_error,
    one_vs_rest,
    reliability_bins,
    risk_coverage,
)
from transfer.reporting.style import (
    COLORS,
    GLYPH_WIDTH,
    REFERENCE,
    UNCLIPPED,
    count_columns,
    styled,
)

MAX_NUMBERED = 20  # classes, up to which a confusion matrix has numbers in its cells
MAX_NAME = 24  # characters of a class name
THRESHOLDS = (0.8, 0.9, 0.95, 0.99)  # of the probability of an answer
CROWDED = 0.12  # distance from the perfect corner, up to which curves are magnified there


@styled
def learning_curves(head: dict[str, list], fine_tune: dict[str, list]) -> Figure:
    """Plot accuracy and loss over the epochs of both phases.

    Args:
        head: Columns of the history of the head, of equal length: epoch, accuracy, loss,
            val_accuracy, val_loss.
        fine_tune: The same columns of the history of fine-tuning.
    """
    figure = Figure(figsize=(11, 4.4))
    epochs = [*head["epoch"], *fine_tune["epoch"]]
    for axes, metric in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for label, key in (("training", metric), ("validation", f"val_{metric}")):
            values = [*head[key], *fine_tune[key]]
            axes.plot(epochs, values, "o-", ms=4, color=COLORS[label], label=label, **UNCLIPPED)
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
def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, class_names: list[str]) -> Figure:
    """Plot counts and row percentages; beyond MAX_NUMBERED classes, colours only.

    Args:
        labels: int [N], indices into `class_names`.
        predictions: int [N], indices into `class_names`.
        class_names: The names of the C classes.
    """
    n = len(class_names)
    counts = metrics.confusion_matrix(labels, predictions, labels=range(n))
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes, cell = _confusion_axes(class_names)
    # The square root keeps one mistake among many images visible.
    image = axes.imshow(fractions, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    if n <= MAX_NUMBERED:
        characters = max(len("100.0%"), len(str(counts.max())))
        size = min(12, 0.85 * cell / (GLYPH_WIDTH * characters))
        for (row, column), fraction in np.ndenumerate(fractions):
            count = counts[row, column]
            text = f"{count}\n{fraction:.1%}" if count else "0"
            color = "white" if fraction > 0.3 else "#333333" if count else "#AAAAAA"
            axes.text(column, row, text, ha="center", va="center", size=size, color=color)
    else:
        label = "fraction of the true class"
        axes.figure.colorbar(image, shrink=0.6, format="{x:.0%}", label=label)
    accuracy = np.trace(counts) / max(counts.sum(), 1)
    axes.set_title(f"accuracy {accuracy:.3f}, N = {counts.sum()}")
    return axes.figure


def _confusion_axes(class_names: list[str]) -> tuple[Axes, float]:
    """Return axes that have room for the names, and the side of a cell in points."""
    n = len(class_names)
    names = [name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…" for name in class_names]
    side = np.clip(0.55 * n, 3, 9.5)
    cell = 72 * side / n
    size = min(10, 0.75 * cell)
    longest = max(map(count_columns, names)) * GLYPH_WIDTH * size
    vertical = longest > cell
    width = side + longest / 72 + (1.8 if n > MAX_NUMBERED else 0.6)
    figure = Figure(figsize=(width, side + (longest / 72 if vertical else 0.2) + 0.8))
    axes = figure.subplots()
    axes.set_xticks(range(n), names, size=size, rotation=90 if vertical else 0)
    axes.set_yticks(range(n), names, size=size)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.grid(False)
    return axes, cell


@styled
def roc_and_precision_recall(labels: np.ndarray, curves: dict[str, np.ndarray]) -> Figure:
    """Plot ROC (left) and precision-recall curves (right), with the perfect corner magnified.

    With more than two classes, the curves are micro-averages over the classes, one-vs-rest.

    Args:
        labels: int [N].
        curves: Probabilities, float [N, C], by the name of the model. Where C is 2, class 1 is the
            positive one.
    """
    figure = Figure(figsize=(11, 5.2))
    left, right = figure.subplots(1, 2)
    for index, (name, probabilities) in enumerate(curves.items()):
        truth, score = one_vs_rest(labels, probabilities)
        if len(np.unique(truth)) < 2:
            continue
        # Each curve is thinner than the one beneath it, so that equal curves are all visible.
        line = {"color": COLORS.get(name, f"C{index}"), "lw": 3 / (1 + index)}
        roc = RocCurveDisplay.from_predictions(truth, score, ax=left, curve_kwargs=line)
        roc.line_.set_label(f"{name}, AUC {roc.roc_auc:.4f}")
        precision_recall = PrecisionRecallDisplay.from_predictions(
            truth, score, ax=right, curve_kwargs=line, drop_intermediate=True
        )
        precision_recall.line_.set_label(f"{name}, AP {precision_recall.average_precision:.4f}")
    classes = probabilities.shape[1]
    average = f", micro-average of {classes} classes" if classes > 2 else ""
    left.set(title=f"ROC{average}", xlabel="false positive rate", ylabel="true positive rate")
    right.set(title=f"Precision and recall{average}", xlabel="recall", ylabel="precision")
    if not left.lines:
        for axes in (left, right):
            axes.text(0.5, 0.5, "undefined: the labels are all of one class", ha="center")
        return figure
    _magnify(left, corner=0)
    _magnify(right, corner=1)
    left.plot([0, 1], [0, 1], label="chance", **REFERENCE)
    left.legend(loc="lower right")
    right.legend(loc="lower left")
    return figure


def _magnify(axes: Axes, corner: int) -> None:
    """Add an inset that magnifies the corner (corner, 1), if all curves come near it."""
    points = [line.get_xydata() for line in axes.lines]
    distance = max(np.abs(xy - (corner, 1)).max(axis=1).min() for xy in points)
    if distance >= CROWDED:
        return
    span = max(3 * distance, 0.02)
    xlim = (1 - span, 1 + 0.05 * span) if corner else (-0.05 * span, span)
    bounds = (0.1 if corner else 0.36, 0.36, 0.54, 0.5)
    inset = axes.inset_axes(bounds, xlim=xlim, ylim=(1 - span, 1 + 0.05 * span))
    inset.tick_params(labelsize=8)
    inset.locator_params(nbins=4)
    inset.spines[:].set_visible(True)
    axes.indicate_inset_zoom(inset, edgecolor=REFERENCE["color"])
    for line in axes.lines:
        inset.plot(
            *line.get_data(),
            color=line.get_color(),
            lw=line.get_linewidth(),
            drawstyle=line.get_drawstyle(),
        )


@styled
def reliability(labels: np.ndarray, curves: dict[str, np.ndarray]) -> Figure:
    """Plot accuracy against confidence, and below it how many predictions have that confidence.

    Args:
        labels: int [N].
        curves: Probabilities, float [N, C], by the name of the model.
    """
    figure = Figure(figsize=(7, 6.4))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], label="perfectly calibrated", **REFERENCE)
    colors = [COLORS.get(name, f"C{index}") for index, name in enumerate(curves)]
    for color, (name, probabilities) in zip(colors, curves.items(), strict=True):
        binned = reliability_bins(labels, probabilities)
        label = f"{name}, ECE {calibration_error(labels, probabilities):.3f}"
        x, y = binned["confidence"], binned["accuracy"]
        upper.plot(x, y, "o-", color=color, label=label, **UNCLIPPED)
    confidences = [probabilities.max(axis=1).clip(0, 1) for probabilities in curves.values()]
    lower.hist(confidences, BINS, range=(0, 1), rwidth=0.9, color=colors)
    for container in lower.containers:
        lower.bar_label(container, fmt=lambda count: f"{count:.0f}" if count else "", size=7)
    # The largest of C probabilities is at least 1 / C.
    start = np.floor(BINS / probabilities.shape[1]) / BINS
    upper.set(ylim=(0, 1), ylabel="accuracy", title="Reliability")
    lower.set(xlim=(start, 1), xlabel="confidence", ylabel="images")
    lower.margins(y=0.15)
    upper.legend()
    return figure


@styled
def selective_answers(labels: np.ndarray, curves: dict[str, np.ndarray]) -> Figure:
    """Plot how often answers are wrong against the fraction of images that get one.

    Args:
        labels: int [N].
        curves: Probabilities, float [N, C], by the name of the model; thresholds are marked on the
            last one.
    """
    figure = Figure(figsize=(7, 4.6))
    axes = figure.subplots()
    start = 0.9
    for index, (name, probabilities) in enumerate(curves.items()):
        answers = risk_coverage(labels, probabilities)
        start = min([start, *answers["coverage"][answers["risk"] > 0]])
        color = COLORS.get(name, f"C{index}")
        axes.plot(answers["coverage"], answers["risk"], color=color, label=name)
    for threshold in THRESHOLDS:
        answered, accuracy, _ = answered_at_least(labels, probabilities, threshold)
        if answered:
            point = answered, 1 - accuracy
            axes.plot(*point, "o", color=color, **UNCLIPPED)
            axes.annotate(
                f"{threshold:g}", point, (0, 6), textcoords="offset points", ha="right", size=8
            )
    left = np.floor(10 * start) / 10 - 0.1 if start > 0.1 else 0  # what is left of it is all right
    axes.set(xlim=(left, 1), xlabel="images answered", ylabel="wrong among the answered")
    axes.set_ylim(0)
    axes.set_title("Selective answers; numbers: lowest probability of an answer")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    axes.legend(loc="upper left")
    return figure


@styled
def familiarity(scores: np.ndarray, limit: float) -> Figure:
    """Plot how many images are how familiar, and the limit.

    Args:
        scores: float [N], from 0 to 1.
        limit: The score from which on an image is familiar.
    """
    figure = Figure(figsize=(7, 3.2))
    axes = figure.subplots()
    unfamiliar, familiar = scores[scores < limit], scores[scores >= limit]
    start = min(scores.min(), limit)
    colors = [COLORS["wrong"], COLORS["right"]]
    labels = [f"unfamiliar, {len(unfamiliar)}", f"familiar, {len(familiar)}"]
    looks = {"stacked": True, "color": colors, "label": labels}
    axes.hist([unfamiliar, familiar], bins=40, range=(start, 1), **looks)
    axes.axvline(limit, **REFERENCE)
    axes.set(xlabel="familiarity", ylabel="images", title="Familiarity of the test images")
    axes.legend(loc="upper left")
    return figure
