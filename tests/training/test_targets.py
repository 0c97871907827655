import numpy as np

from transfer.data.dataset import Split
from transfer.training.augmentation import Augmentation
from transfer.training.targets import Targets

PLACES = np.array([3, 0])


def make_split(labels, classes):
    labels = np.array(labels)
    return Split(None, np.arange(len(labels)), labels, [], [str(c) for c in range(classes)])


TWO = make_split([0, 1, 1, 1], 2)
THREE = make_split([0, 1, 1, 2], 3)


def test_plain_targets_are_the_labels():
    (targets,) = Targets(TWO)(PLACES, 1)
    assert (targets.dtype, targets.tolist()) == (np.float32, [[1], [0]])
    (targets,) = Targets(THREE)(PLACES, 1)
    assert (targets.dtype, targets.tolist()) == (np.float32, [[0, 0, 1], [1, 0, 0]])
    assert len(Targets(THREE)) == 4


def test_smoothing_spreads_a_share_over_all_classes():
    np.testing.assert_allclose(Targets(TWO, 0.1)(PLACES, 1)[0], [[0.95], [0.05]])
    np.testing.assert_allclose(
        Targets(THREE, 0.3)(PLACES, 1)[0], [[0.1, 0.1, 0.8], [0.8, 0.1, 0.1]], rtol=1e-6
    )


def test_balanced_classes_count_the_same_and_pictures_1_on_average():
    targets = Targets(TWO, balanced=True)
    _, weights = targets(np.arange(4), 1)
    np.testing.assert_allclose(weights, [2, 2 / 3, 2 / 3, 2 / 3], rtol=1e-6)
    assert weights.dtype == np.float32


def test_mixed_targets_are_mixed_as_the_pictures_are():
    mixup = Augmentation(0, mixup=1.0)
    targets, weights = Targets(THREE, 0.3, mixup, balanced=True)(PLACES, 5)
    plain, plain_weights = Targets(THREE, 0.3, balanced=True)(np.arange(4), 5)
    others, shares = mixup.draw_mixtures(4, 5)
    for row, place in enumerate(PLACES):
        share, other = shares[place], others[place]
        expected = share * plain[place] + (1 - share) * plain[other]
        np.testing.assert_allclose(targets[row], expected, rtol=1e-5)
        weight = share * plain_weights[place] + (1 - share) * plain_weights[other]
        np.testing.assert_allclose(weights[row], weight, rtol=1e-5)
    assert not np.array_equal(Targets(THREE, 0, mixup)(PLACES, 6)[0], targets)
