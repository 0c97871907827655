import numpy as np
import pytest

from tests.helpers.figures import binary, history
from transfer.reporting import figures
from transfer.reporting.style import COLORS, save

pytestmark = pytest.mark.filterwarnings("error")


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_learning_curves_continue_over_both_phases():
    head, fine_tune = history(range(1, 11), 0.95), history(range(11, 21), 0.99)
    head["val_loss"][0] = 7.5
    figure = figures.learning_curves(head, fine_tune)
    accuracy, loss = figure.axes
    training, validation, start = loss.lines
    assert list(validation.get_xdata()) == list(range(1, 21))
    assert list(validation.get_ydata()) == [7.5] + [0.95] * 9 + [0.99] * 10
    assert list(training.get_ydata()) == [0.95] * 10 + [0.99] * 10
    assert training.get_color() != validation.get_color()
    assert start.get_label() == "start of fine-tuning"
    assert set(start.get_xdata()) == {10.5}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "training",
        "validation",
        "start of fine-tuning",
    ]
    assert loss.get_ylim()[1] > 7.5
    bottom, top = accuracy.get_ylim()
    assert 0.9 < bottom < 0.95 and 0.99 < top <= 1


def test_learning_curves_show_values_on_the_limits_whole():
    accuracy, _ = figures.learning_curves(history([1], 1.0), history([2], 1.0)).axes
    assert accuracy.get_ylim()[1] == 1
    assert not any(line.get_clip_on() for line in accuracy.lines[:2])
    _, loss = figures.learning_curves(history([1], 0.0), history([2], 0.0)).axes
    assert loss.get_ylim()[0] == 0


@pytest.mark.parametrize(
    ("head", "fine_tune", "lines"),
    [([1], [], 2), ([], [11, 12], 2), ([1], [2], 3), ([], [], 2), (range(1, 301), [301], 3)],
)
def test_learning_curves_of_few_and_many_epochs(head, fine_tune, lines, tmp_path):
    figure = figures.learning_curves(history(head), history(fine_tune))
    save(figure, tmp_path / "curves.png")
    epochs = [*head, *fine_tune]
    for axes in figure.axes:
        assert len(axes.lines) == lines
        ticks = axes.get_xticks()
        if epochs:
            assert all(tick == round(tick) for tick in ticks)
            assert any(epochs[0] <= tick <= epochs[-1] for tick in ticks)


def test_learning_curves_of_a_diverged_run(tmp_path):
    figure = figures.learning_curves(history([1, 2], np.nan), history([]))
    save(figure, tmp_path / "curves.png")
    assert figure.axes[0].get_window_extent().width > 400


def test_confusion_matrix_counts_and_row_percentages():
    labels, predictions = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 1])
    (axes,) = figures.confusion_matrix(labels, predictions, ["cats", "dogs"]).axes
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    # A position is (predicted, true).
    assert cells == {(0, 0): "3\n75.0%", (1, 0): "1\n25.0%", (0, 1): "0", (1, 1): "2\n100.0%"}
    assert axes.get_title() == "accuracy 0.833, N = 6"
    assert [text.get_text() for text in axes.get_yticklabels()] == ["cats", "dogs"]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0, 1]])


def test_confusion_matrix_of_a_class_without_images():
    (axes,) = figures.confusion_matrix(np.array([0]), np.array([0]), ["cats", "dogs"]).axes
    assert [text.get_text() for text in axes.texts] == ["1\n100.0%", "0", "0", "0"]


@pytest.mark.parametrize(("classes", "texts"), [(12, 144), (20, 400), (21, 0), (40, 0)])
def test_confusion_matrix_drops_the_numbers_beyond_20_classes(classes, texts):
    labels = np.arange(classes)
    axes = figures.confusion_matrix(labels, labels, [f"class {i}" for i in labels]).axes
    assert len(axes[0].texts) == texts
    # The second axes is the colour bar, which stands in for the numbers.
    assert len(axes) == (1 if texts else 2)


def test_confusion_matrix_texts_fit_their_cells(tmp_path):
    labels = np.repeat(np.arange(20), 12345)
    figure = figures.confusion_matrix(labels, labels, [f"class {i}" for i in range(20)])
    save(figure, tmp_path / "confusion.png")
    (axes,) = figure.axes
    cell = axes.get_window_extent().width / 20
    assert all(text.get_window_extent().width < cell for text in axes.texts)


def test_long_class_names_are_shortened_and_taken_as_text(tmp_path):
    names = ["a$_$", "x" * 100]
    figure = figures.confusion_matrix(np.array([0, 1]), np.array([0, 1]), names)
    save(figure, tmp_path / "confusion.png")
    shown = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert shown == ["a$_$", "x" * 23 + "…"]
    assert figure.axes[0].get_window_extent().width > 250


def test_roc_and_precision_recall_of_two_classes():
    labels = np.array([0, 0, 1, 1])
    curves = {"head": binary([0.1, 0.4, 0.35, 0.8]), "fine-tuned": binary([0.1, 0.2, 0.7, 0.9])}
    figure = figures.roc_and_precision_recall(labels, curves)
    roc, precision_recall = figure.axes
    # Three of the four pairs are in order; precision is 1 and 2/3 at the two steps of recall.
    assert legend(roc) == ["head, AUC 0.7500", "fine-tuned, AUC 1.0000", "chance"]
    assert legend(precision_recall) == ["head, AP 0.8333", "fine-tuned, AP 1.0000"]
    assert roc.lines[0].get_xydata().tolist() == [[0, 0], [0, 0.5], [0.5, 0.5], [0.5, 1], [1, 1]]
    for axes in (roc, precision_recall):
        head, fine_tuned = axes.lines[:2]
        assert head.get_color() == COLORS["head"]
        assert fine_tuned.get_color() == COLORS["fine-tuned"]
        assert head.get_linewidth() > fine_tuned.get_linewidth()
        assert not axes.child_axes


def test_roc_and_precision_recall_micro_average_more_classes():
    probabilities = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8]])
    curves = {"head": probabilities}
    figure = figures.roc_and_precision_recall(np.array([0, 1, 2]), curves)
    roc, precision_recall = figure.axes
    # Positives 0.6, 0.4, 0.8 against six negatives: 17 of the 18 pairs are in order.
    assert legend(roc)[0] == "head, AUC 0.9444"
    assert legend(precision_recall) == [f"head, AP {(1 + 1 + 3 / 4) / 3:.4f}"]
    assert roc.get_title() == "ROC, micro-average of 3 classes"


def test_near_perfect_curves_are_magnified_at_their_corner():
    labels = np.arange(400) % 2
    positive = 0.2 + 0.6 * labels
    almost = positive.copy()
    almost[:4] = 0.5
    curves = {"head": binary(almost), "fine-tuned": binary(positive)}
    roc, precision_recall = figures.roc_and_precision_recall(labels, curves).axes
    (left,), (right,) = roc.child_axes, precision_recall.child_axes
    assert len(left.lines) == len(right.lines) == 2
    assert left.get_xlim()[0] < 0 < left.get_xlim()[1] < 0.1
    assert 0.9 < right.get_xlim()[0] < 1 < right.get_xlim()[1]
    for inset in (left, right):
        assert 0.9 < inset.get_ylim()[0] < 1 < inset.get_ylim()[1]


def test_precision_recall_leaves_out_points_that_change_nothing():
    labels = np.arange(1000) == 500
    curves = {"head": binary(np.linspace(0, 1, 1000))}
    _, axes = figures.roc_and_precision_recall(labels, curves).axes
    assert len(axes.lines[0].get_xdata()) < 6


@pytest.mark.parametrize("label", [0, 1])
def test_roc_of_a_single_class_is_undefined(label, tmp_path):
    curves = {"head": binary([1.0]), "fine-tuned": binary([0.0])}
    figure = figures.roc_and_precision_recall(np.array([label]), curves)
    save(figure, tmp_path / "roc.png")
    for axes in figure.axes:
        assert [text.get_text() for text in axes.texts] == [
            "undefined: the labels are all of one class"
        ]
        assert not axes.lines


def test_reliability_shows_the_calibration_error_and_the_counts():
    labels = np.array([1, 1, 1, 1])
    curves = {"head": binary([0.75, 0.75, 0.75, 0.15]), "fine-tuned": binary([1.0] * 4)}
    upper, lower = figures.reliability(labels, curves).axes
    # Three right at 0.75 and one wrong at 0.85: (3 * 0.25 + 1 * 0.85) / 4 = 0.4.
    assert legend(upper) == ["perfectly calibrated", "head, ECE 0.400", "fine-tuned, ECE 0.000"]
    np.testing.assert_allclose(upper.lines[1].get_xydata(), [[0.75, 1], [0.85, 0]])
    assert [text.get_text() for text in lower.texts if text.get_text()] == ["3", "1", "4"]
    assert lower.get_xlim() == (0.5, 1)


@pytest.mark.parametrize("classes", [2, 3, 40])
def test_reliability_of_one_perfect_prediction(classes, tmp_path):
    figure = figures.reliability(np.array([1]), {"head": np.eye(classes)[[1]]})
    save(figure, tmp_path / "reliability.png")
    assert legend(figure.axes[0])[1] == "head, ECE 0.000"


def test_selective_answers_mark_the_thresholds_of_the_last_model():
    labels = np.array([1, 1, 1, 1])
    curves = {"head": binary([0.6] * 4), "fine-tuned": binary([0.97, 0.93, 0.92, 0.15])}
    (axes,) = figures.selective_answers(labels, curves).axes
    assert legend(axes) == ["head", "fine-tuned"]
    assert axes.get_xlim() == (0.8, 1)  # the only wrong answer is at 1; shown from 0.9 - 0.1 on
    head, tuned, *marks = axes.lines
    assert head.get_xydata().tolist() == [[1, 0]]
    np.testing.assert_allclose(tuned.get_xydata(), [[0.25, 0], [0.5, 0], [0.75, 0], [1, 0.25]])
    assert [text.get_text() for text in axes.texts] == ["0.8", "0.9", "0.95"]  # 0.99: no answer
    assert [mark.get_xydata().tolist() for mark in marks] == [
        [[1, 1 / 4]],
        [[3 / 4, 0]],
        [[1 / 4, 0]],
    ]


@pytest.mark.parametrize(
    ("scores", "counts"), [([0.5, 0.69, 0.7, 0.9], (2, 2)), ([0.9, 1.0], (0, 2)), ([0.2], (1, 0))]
)
def test_familiarity_counts_the_images_below_the_limit_and_from_it_on(scores, counts):
    (axes,) = figures.familiarity(np.array(scores), 0.7).axes
    assert legend(axes) == [f"unfamiliar, {counts[0]}", f"familiar, {counts[1]}"]
    below, above = (sum(bar.get_height() for bar in bars) for bars in axes.containers)
    assert (below, above) == counts
    (line,) = axes.lines
    assert set(line.get_xdata()) == {0.7}
    start, end = axes.get_xlim()
    assert start < min(*scores, 0.7) and end > 1
