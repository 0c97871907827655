import numpy as np
import pytest
from scipy.stats import norm

from tests.helpers.figures import binary
from transfer.evaluation.metrics import (
    answered_at_least,
    calibration_error,
    curves,
    mcnemar_test,
    one_vs_rest,
    reliability_bins,
    risk_coverage,
    scores,
    scores_by_class,
)

LABELS = np.array([0, 0, 0, 1, 1])
# Right at 0.1 and 0.2, wrong at 0.6, right at 0.9, wrong at 0.4.
PROBABILITIES = binary([0.1, 0.2, 0.6, 0.9, 0.4])


def test_scores_of_two_classes_by_hand():
    found = scores(LABELS, PROBABILITIES)
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["precision"] == pytest.approx(1 / 2)
    assert found["recall"] == pytest.approx(1 / 2)
    assert found["f1"] == pytest.approx(1 / 2)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    # Of 6 pairs, only (0.6, 0.4) is in the wrong order.
    assert found["roc_auc"] == pytest.approx(5 / 6)
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["loss"] == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.9, 0.4]).mean())
    assert found["brier"] == pytest.approx(np.mean([0.01, 0.04, 0.36, 0.01, 0.36]))


def test_interval_is_wilsons():
    found = scores(LABELS, PROBABILITIES)
    z, n, p = norm.ppf(0.975), 5, 3 / 5
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert found["accuracy_low"] == pytest.approx(centre - half)
    assert found["accuracy_high"] == pytest.approx(centre + half)


def test_scores_of_three_classes_are_means_over_them():
    labels = np.array([0, 1, 2, 2])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8], [0.2, 0.2, 0.6]])
    found = scores(labels, probabilities)
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert found["precision"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert found["recall"] == pytest.approx((1 + 0 + 1) / 3)
    assert found["roc_auc"] == pytest.approx(1)


def test_a_class_that_is_never_found_shows_in_the_balanced_accuracy():
    labels = np.array([0] * 19 + [1])
    found = scores(labels, binary(np.full(20, 0.1)))
    assert found["accuracy"] == pytest.approx(0.95)
    assert found["balanced_accuracy"] == pytest.approx(0.5)
    assert found["macro_f1"] == pytest.approx((38 / 39 + 0) / 2)


def test_float32_rows_whose_sum_rounds_off_one_cause_no_warning():
    probabilities = np.array([[1e-9, 1], [0.3, 0.7000001]], np.float32)
    assert scores(np.array([0, 1]), probabilities)["accuracy"] == 0.5


def test_each_class_has_scores_of_its_own():
    assert scores_by_class(LABELS, PROBABILITIES) == [
        (round(2 / 3, 5), round(2 / 3, 5), round(2 / 3, 5), 3),
        (0.5, 0.5, 0.5, 2),
    ]


def test_predictions_are_binned_by_their_confidence():
    labels = np.array([1, 1, 0, 0, 0, 0])
    binned = reliability_bins(labels, binary([0.62, 0.68, 0.66, 0.02, 1.0, 0.0]))
    # 0.62, 0.68 (right) and 0.66 (wrong) share a bin; 0.98, 0.0 -> 1.0 (right) and 1.0 (wrong).
    assert binned["count"].tolist() == [3, 3]
    np.testing.assert_allclose(binned["confidence"], [1.96 / 3, 2.98 / 3])
    np.testing.assert_allclose(binned["accuracy"], [2 / 3, 2 / 3])


def test_number_of_reliability_bins_can_be_set():
    labels, probabilities = np.array([1, 1, 1]), binary([0.62, 0.68, 0.9])
    assert reliability_bins(labels, probabilities, bins=20)["count"].tolist() == [1, 1, 1]
    assert reliability_bins(labels, probabilities, bins=2)["count"].tolist() == [3]


def test_reliability_bins_keep_a_probability_above_one():
    probabilities = np.array([[np.nextafter(np.float32(1), np.float32(2)), 0]], np.float32)
    binned = reliability_bins(np.array([0]), probabilities)
    assert {name: values.tolist() for name, values in binned.items()} == {
        "confidence": [1],
        "accuracy": [1],
        "count": [1],
    }


def test_the_calibration_error_is_the_mean_gap_of_the_bins():
    # Two predictions at 0.75, one right: |0.5 - 0.75|; one at 1.0, right: 0.
    error = calibration_error(np.array([1, 0, 1]), binary([0.75, 0.75, 1.0]))
    assert error == pytest.approx(0.25 * 2 / 3)


def test_one_vs_rest_pools_three_classes_and_takes_the_second_of_two():
    truth, score = one_vs_rest(LABELS, PROBABILITIES)
    assert (truth.tolist(), score.tolist()) == (LABELS.tolist(), PROBABILITIES[:, 1].tolist())
    truth, score = one_vs_rest(np.array([2, 0]), np.array([[0, 0.2, 0.8], [0.5, 0.5, 0]]))
    assert truth.tolist() == [0, 0, 1, 1, 0, 0]
    assert score.tolist() == [0, 0.2, 0.8, 0.5, 0.5, 0]


def test_curves_start_and_end_where_they_should():
    drawn = {name: (header, rows) for name, header, rows in curves(LABELS, PROBABILITIES)}
    assert list(drawn) == ["roc", "precision_recall", "reliability", "risk_coverage"]
    header, rows = drawn["roc"]
    assert header == ("false_positive_rate", "true_positive_rate")
    assert (rows[0], rows[-1]) == ([0, 0], [1, 1])
    assert drawn["precision_recall"][1][-1] == [0, 1]


def test_mcnemars_test_counts_what_only_one_gets_right():
    def right_but_at(*indices):
        return ~np.isin(np.arange(20), indices)

    assert mcnemar_test(right_but_at(0, 1), right_but_at(0, 1)) == (0, 0, 1.0)
    # Only the second gets 1 to 6 right, only the first 7: p = 2 * (1 + 7) / 2**7
    found = mcnemar_test(right_but_at(0, 1, 2, 3, 4, 5, 6), right_but_at(0, 7))
    assert found == (1, 6, pytest.approx(2 * (1 + 7) / 2**7))


def test_equally_sure_answers_are_given_together():
    # Right at 0.9, right and wrong at 0.8, wrong at 0.6.
    labels, probabilities = np.array([1, 1, 1, 1]), binary([0.8, 0.4, 0.9, 0.2])
    answers = risk_coverage(labels, probabilities)
    assert answers["threshold"].tolist() == [0.9, 0.8, 0.6]
    assert answers["coverage"].tolist() == [1 / 4, 3 / 4, 1]
    assert answers["risk"].tolist() == [0, 1 / 3, 2 / 4]


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.5, (1, 1 / 2, 2)), (0.8, (3 / 4, 2 / 3, 1)), (0.85, (1 / 4, 1, 0)), (0.95, (0, np.nan, 0))],
)
def test_answers_below_a_threshold_are_not_given(threshold, expected):
    labels, probabilities = np.array([1, 1, 1, 1]), binary([0.8, 0.4, 0.9, 0.2])
    found = answered_at_least(labels, probabilities, threshold)
    assert found == pytest.approx(expected, nan_ok=True)
