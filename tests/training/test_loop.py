import numpy as np
import pytest

from tests.helpers.models import (
    AUGMENTATION,
    fit_on,
    make_augmentation,
    make_classifier,
    make_split,
    predict,
    stored_split,
    train,
)
from transfer.core.runtime import keras
from transfer.models.classifier import load_model, save_model, unfreeze
from transfer.models.description import Description
from transfer.training.features import Features, compute_features
from transfer.training.history import HISTORY_COLUMNS, kept_epoch
from transfer.training.targets import Targets
from transfer.training.views import stored_features


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


def test_keras_still_overrides_training_without_the_trainer():
    """If this fails, Keras respects `training=False` and `Trainer` can go (keras#20285)."""
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


def test_a_frozen_base_does_not_change():
    classifier = make_classifier()
    before = classifier.get_layer("base").get_weights()
    train(classifier, make_split())
    for old, new in zip(before, classifier.get_layer("base").get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("classes", [2, 3])
def test_training_learns_and_predictions_are_probabilities(classes):
    split = make_split(image_count=24, classes=classes)
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


def test_every_epoch_reads_its_own_view_of_every_image():
    split, classifier, seen = make_split(), make_classifier(), {}
    features = compute_features(classifier, split, split, AUGMENTATION, "float32")

    def read(indices, epoch):
        seen.setdefault(epoch, set()).update(indices.tolist())
        return features.train(indices, epoch)

    watched = Features(read, features.val, features.live)
    fit_on(watched, classifier, split, epochs=3, first_epoch=4)
    assert seen == dict.fromkeys((4, 5, 6), set(range(10)))


def test_epochs_continue_the_numbers_of_the_first_phase():
    history = train(make_classifier(), make_split(), epochs=2, first_epoch=11)
    assert [row[0] for row in history] == [11, 12]
    assert all(len(row) == len(HISTORY_COLUMNS) for row in history)


@pytest.mark.parametrize("first_layer", [130, pytest.param(154, marks=pytest.mark.slow)])
def test_training_on_stored_features_is_nearly_that_on_images(tmp_path, monkeypatch, first_layer):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    split, val, histories, weights = make_split(), make_split(), [], []
    for stored in (False, True):
        classifier = make_classifier()
        base = classifier.get_layer("base")
        unfreeze(base, first_layer)
        if stored:
            splits = stored_split(tmp_path / "train", split), stored_split(tmp_path / "val", val)
            features = stored_features(
                classifier, splits, AUGMENTATION, 2, first_layer, 1e9, "float32"
            )
        else:
            features = compute_features(classifier, split, val, AUGMENTATION, "float32")
        sgd = keras.optimizers.SGD(1e-4)  # Adam amplifies gradients that are nearly 0
        histories.append(fit_on(features, classifier, split, epochs=2, optimizer=sgd))
        weights.append(classifier.get_layer("head").get_weights()[0])
    np.testing.assert_allclose(*histories, atol=5e-3)
    assert 0 < np.abs(weights[0] - weights[1]).max() < 2e-3


@pytest.mark.slow
def test_training_in_mixed_precision_learns_and_saves_float32(tmp_path):
    split, classifier = make_split(image_count=24), make_classifier()
    base = classifier.get_layer("base")
    unfreeze(base, 140)
    before = base.get_weights()
    loss = HISTORY_COLUMNS.index("loss")
    history = train(
        classifier,
        split,
        epochs=4,
        optimizer=keras.optimizers.Adam(3e-3),
        precision="mixed_float16",
    )
    assert history[-1][loss] < history[0][loss]
    changed = sum(
        not np.array_equal(*pair) for pair in zip(before, base.get_weights(), strict=True)
    )
    assert changed > 4
    save_model(classifier, tmp_path / "model.keras", Description(["a", "b"], True))
    loaded = load_model(tmp_path / "model.keras")
    assert {weight.dtype for weight in loaded.get_layer("base").weights} == {"float32"}
    assert {layer.compute_dtype for layer in loaded.get_layer("base").layers} == {"float32"}
    np.testing.assert_array_equal(predict(loaded, split), predict(classifier, split))


@pytest.mark.parametrize("classes", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_training_on_smoothed_mixed_and_weighted_targets_learns(classes):
    split = make_split(image_count=24, classes=classes)
    augmentation = make_augmentation(random_resized_crop=0.1, color_jitter=0.1, mixup=0.2)
    targets = Targets(split, 0.1, augmentation, balanced=True)
    classifier = make_classifier(classes)
    unfreeze(classifier.get_layer("base"), 140)
    features = compute_features(classifier, split, split, augmentation, "float32")
    history = fit_on(features, classifier, split, 6, keras.optimizers.Adam(3e-3), targets=targets)
    accuracy, val_loss = (HISTORY_COLUMNS.index(name) for name in ("accuracy", "val_loss"))
    assert history[-1][val_loss] < history[0][val_loss]
    assert max(row[accuracy] for row in history) > 1.2 / classes  # of targets that are not labels


def test_training_stops_early_and_keeps_the_best_epoch():
    split = make_split(image_count=24)
    classifier = make_classifier()
    # Too high a rate, so that the validation loss soon rises.
    sgd = keras.optimizers.SGD(3.0, momentum=0.9)
    history = train(classifier, split, epochs=30, optimizer=sgd, patience=2)
    best = kept_epoch(history, 2)
    assert len(history) < 30 and history[-1][0] == best[0] + 2
    assert best[-1] == min(row[-1] for row in history)
    logits = classifier(split.images[split.rows]).numpy()[:, 0].astype(float)
    losses = np.logaddexp(0, np.where(split.labels == 1, -logits, logits))
    assert losses.mean() == pytest.approx(best[-1], rel=1e-3)
