import numpy as np

from tests.helpers.models import make_augmentation
from transfer.data.dataset import Split
from transfer.training.targets import Targets

INDICES = np.array([3, 0])


def make_split(labels, classes):
    labels = np.array(labels)
    return Split(None, np.arange(len(labels)), labels, [], [str(c) for c in range(classes)])


TWO = make_split([0, 1, 1, 1], 2)
THREE = make_split([0, 1, 1, 2], 3)


def test_plain_targets_are_the_labels():
    (targets,) = Targets(TWO)(INDICES, 1)
    assert (targets.dtype, targets.tolist()) == (np.float32, [[1], [0]])
    (targets,) = Targets(THREE)(INDICES, 1)
    assert (targets.dtype, targets.tolist()) == (np.float32, [[0, 0, 1], [1, 0, 0]])
    assert len(Targets(THREE)) == 4


def test_smoothing_spreads_a_fraction_over_all_classes():
    np.testing.assert_allclose(Targets(TWO, 0.1)(INDICES, 1)[0], [[0.95], [0.05]])
    np.testing.assert_allclose(
        Targets(THREE, 0.3)(INDICES, 1)[0], [[0.1, 0.1, 0.8], [0.8, 0.1, 0.1]], rtol=1e-6
    )


def test_balanced_classes_count_the_same_and_the_mean_weight_is_1():
    targets = Targets(TWO, balanced=True)
    _, weights = targets(np.arange(4), 1)
    np.testing.assert_allclose(weights, [2, 2 / 3, 2 / 3, 2 / 3], rtol=1e-6)
    assert weights.dtype == np.float32


def test_targets_are_mixed_as_the_images_are():
    mixup = make_augmentation(mixup=1.0)
    targets, weights = Targets(THREE, 0.3, mixup, balanced=True)(INDICES, 5)
    plain, plain_weights = Targets(THREE, 0.3, balanced=True)(np.arange(4), 5)
    others, fractions = mixup.draw_mixtures(4, 5)
    for row, index in enumerate(INDICES):
        own, other = fractions[index], others[index]
        expected = own * plain[index] + (1 - own) * plain[other]
        np.testing.assert_allclose(targets[row], expected, rtol=1e-5)
        weight = own * plain_weights[index] + (1 - own) * plain_weights[other]
        np.testing.assert_allclose(weights[row], weight, rtol=1e-5)
    assert not np.array_equal(Targets(THREE, 0, mixup)(INDICES, 6)[0], targets)
