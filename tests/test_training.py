import numpy as np
import pytest

from transfer.dataset import Split
from transfer.engine import keras
from transfer.model import build_base, build_classifier, unfreeze
from transfer.training import HISTORY_COLUMNS, Batches, fit, predict


def make_split(pictures=10, classes=2, size=32):
    rng = np.random.default_rng(0)
    labels = np.arange(pictures) % classes
    images = rng.integers(0, 40, (2 * pictures, size, size, 3), np.uint8)
    rows = np.arange(pictures) * 2  # every other row belongs to another split
    images[rows] += (labels * 100).astype(np.uint8)[:, None, None, None]
    return Split(images, rows, labels, [], [str(c) for c in range(classes)])


def make_classifier(classes=2, seed=0):
    keras.utils.set_random_seed(1)  # of the base
    return build_classifier(build_base(32), classes, "horizontal", 0.2, 0.2, seed)


def train(classifier, split, epochs=2, optimizer=None, **options):
    optimizer = optimizer or keras.optimizers.Adam(1e-3)
    return fit(classifier, optimizer, split, split, 4, 0, epochs, **options)


def test_batches_hold_every_picture_once_an_epoch_in_an_order_of_its_own():
    split = make_split()
    batches = Batches(split, 4, seed=7)
    assert [len(batches[i][0]) for i in range(len(batches))] == [4, 4, 2]
    orders = []
    for _ in range(2):
        orders.append(batches.order.tolist())
        images = np.concatenate([batches[i][0] for i in range(3)])
        labels = np.concatenate([batches[i][1] for i in range(3)])
        np.testing.assert_array_equal(images, split.images[split.rows[batches.order]])
        np.testing.assert_array_equal(labels, split.labels[batches.order])
        batches.on_epoch_end()
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))
    assert orders[0] != orders[1]
    assert Batches(split, 4, seed=7, epoch=1).order.tolist() == orders[1]
    assert Batches(split, 4).order.tolist() == list(range(10))


@pytest.mark.parametrize("fine_tune_at", [0, 100])
def test_moving_statistics_stay_bit_identical_and_gamma_and_beta_train(fine_tune_at):
    classifier = make_classifier()
    base = classifier.get_layer("base")
    unfreeze(base, fine_tune_at)
    before = {v.path: v.numpy() for v in base.weights}
    train(classifier, make_split(), optimizer=keras.optimizers.RMSprop(1e-3))
    changed = {v.path for v in base.weights if not np.array_equal(v.numpy(), before[v.path])}
    trainable = {v.path for v in base.trainable_variables}
    assert not {path for path in changed if "moving" in path}
    assert {path.rsplit("/")[-1] for path in changed} == {"kernel", "gamma", "beta"}
    assert changed <= trainable  # at 32x32, some gradients are zero


def test_trap_is_still_there_without_the_trainer():
    """If this fails, Keras keeps `training=False` at last and `Trainer` can go (keras#20285)."""
    classifier = make_classifier()
    base = classifier.get_layer("base")
    unfreeze(base, 100)
    before = {v.path: v.numpy() for v in base.weights if "moving" in v.path}
    classifier.compile("sgd", "binary_crossentropy", jit_compile=False)
    split = make_split()
    classifier.train_on_batch(split.images[split.rows], split.labels)
    assert any(
        not np.array_equal(v.numpy(), before[v.path]) for v in base.weights if v.path in before
    )


def test_frozen_base_stays_as_it_was():
    classifier = make_classifier()
    before = classifier.get_layer("base").get_weights()
    train(classifier, make_split())
    for old, new in zip(before, classifier.get_layer("base").get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("classes", [2, 3])
def test_training_learns_and_predictions_are_probabilities(classes):
    split = make_split(pictures=24, classes=classes)
    classifier = make_classifier(classes)
    unfreeze(classifier.get_layer("base"), 140)
    history = train(classifier, split, epochs=4, optimizer=keras.optimizers.Adam(3e-3))
    assert history[-1][HISTORY_COLUMNS.index("loss")] < history[0][HISTORY_COLUMNS.index("loss")]
    probabilities = predict(classifier, split)
    assert probabilities.shape == (24, classes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    right = (probabilities.argmax(axis=1) == split.labels).mean()
    assert right == pytest.approx(history[-1][HISTORY_COLUMNS.index("val_accuracy")], abs=1e-6)


def test_training_is_bit_identical_and_depends_on_the_seed():
    runs = []
    for seed in (0, 0, 1):
        classifier = make_classifier(seed=seed)
        history = train(classifier, make_split())
        runs.append((history, classifier.get_layer("head").get_weights()))
    assert runs[0][0] == runs[1][0] != runs[2][0]
    for first, second in zip(runs[0][1], runs[1][1], strict=True):
        np.testing.assert_array_equal(first, second)


def test_epochs_are_numbered_on():
    history = train(make_classifier(), make_split(), epochs=2, first_epoch=11)
    assert [row[0] for row in history] == [11, 12]
    assert all(len(row) == len(HISTORY_COLUMNS) for row in history)
