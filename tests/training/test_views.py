import os
import shutil
import time
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from filelock import FileLock

from tests.helpers import models
from tests.helpers.models import (
    AUGMENTATION,
    make_augmentation,
    make_classifier,
    make_split,
    stored_split,
)
from transfer.core.errors import UserError
from transfer.core.files import KEPT_SECONDS, cache_folder, sha256
from transfer.core.runtime import keras
from transfer.models import frozen
from transfer.models.classifier import build_classifier, unfreeze
from transfer.training import views
from transfer.training.features import compute_features

VIEWS = 2
VIEWS_AT = 116  # block_13_expand
WHOLE = 154  # all layers of the base
INDICES = np.array([7, 0, 3, 9, 4])
HALF = 2**-10  # more than the relative rounding error of float16


@pytest.fixture(scope="module")
def trained():
    return make_classifier()


@pytest.fixture
def classifier(trained):
    unfreeze(trained.get_layer("base"), WHOLE)
    return trained


@pytest.fixture
def onnxruntime(monkeypatch):
    """Run the frozen layers in the default runtime, which computes other last digits."""
    monkeypatch.setattr(frozen, "FROZEN_RUNTIME", "onnxruntime")


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """Return training and validation images that lie on the disk, as a stage has them."""
    return tuple(
        stored_split(tmp_path_factory.mktemp("split"), make_split(count)) for count in (10, 6)
    )


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    """Use a user's cache of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield cache_folder() / "views"


def store(classifier, splits, first_layer, augmentation=AUGMENTATION, count=VIEWS, gb=1.0):
    """Return stored features for layers from `first_layer` up."""
    return views.stored_features(
        classifier, splits, augmentation, count, first_layer, gb * 1e9, "float32"
    )


def entries(cache):
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def empty(cache):
    shutil.rmtree(cache, ignore_errors=True)


def assert_near(found, expected, tolerance):
    assert [array.shape for array in found] == [array.shape for array in expected]
    for array, other in zip(found, expected, strict=True):
        assert np.abs(array - other).max() < tolerance * np.abs(other).max()


# Every stored number is rounded; the layers that lie between amplify that.
@pytest.mark.parametrize(
    ("fine_tune_at", "first_layer", "tolerance"),
    [
        (VIEWS_AT, VIEWS_AT, HALF),
        (130, VIEWS_AT, 8 * HALF),
        pytest.param(WHOLE, VIEWS_AT, 8 * HALF, marks=pytest.mark.slow),
        pytest.param(WHOLE, WHOLE, HALF, marks=pytest.mark.slow),
    ],
)
def test_stored_features_are_those_computed_anew(
    onnxruntime, classifier, splits, fine_tune_at, first_layer, tolerance
):
    unfreeze(classifier.get_layer("base"), fine_tune_at)
    computed = compute_features(classifier, *splits, AUGMENTATION, "float32")
    stored = store(classifier, splits, first_layer)
    assert (computed.views, stored.views) == (0, VIEWS)
    for view in (1, 2):
        assert_near(stored.train(INDICES, view), computed.train(INDICES, view), tolerance)
    assert_near(stored.val(INDICES[1:3], 1), computed.val(INDICES[1:3], 1), tolerance)
    features = computed.train(INDICES, 1)
    assert_near([stored.live(features)], [computed.live(features)], 1e-6)
    assert {id(v) for v in stored.live.trainable_variables} == {
        id(v) for v in classifier.get_layer("base").trainable_variables
    }


@pytest.mark.parametrize("fine_tune_at", [0, VIEWS_AT, WHOLE])
def test_computed_features_and_live_layers_are_the_classifier(
    onnxruntime, classifier, splits, fine_tune_at
):
    train, val = splits
    unfreeze(classifier.get_layer("base"), fine_tune_at)
    features = compute_features(classifier, train, val, AUGMENTATION, "float32")
    pooled = features.live(features.val(np.arange(6), 1), training=False)
    logits = classifier.get_layer("head").layers[-1](pooled)
    expected = classifier(val.images[val.rows])
    assert_near([keras.ops.convert_to_numpy(logits)], [expected.numpy()], 1e-3)
    for epoch in (1, 2):
        first, again = (features.train(INDICES, epoch)[0] for _ in range(2))
        np.testing.assert_array_equal(first, again)
    assert (features.train(INDICES, 1)[0] != first).any()


def test_they_are_stored_once_whatever_is_trained_on_them(classifier, splits, cache, capsys):
    store(classifier, splits, VIEWS_AT)
    before = entries(cache)
    capsys.readouterr()
    unfreeze(classifier.get_layer("base"), 140)
    other_head = make_classifier(classes=3, seed=5)
    other_base = other_head.get_layer("base")
    unfreeze(other_base, VIEWS_AT)
    for variable in other_base.trainable_variables:
        variable.assign(2 * variable)
    store(other_head, splits, VIEWS_AT)
    assert entries(cache) == before
    assert "views: stored" not in capsys.readouterr().out


@pytest.mark.parametrize("what", ["augmentation", "views", "layer", "images", "rows", "weights"])
def test_what_they_depend_on_gives_them_another_folder(classifier, splits, cache, tmp_path, what):
    store(classifier, splits, WHOLE)
    before = set(entries(cache))
    train, val = splits
    if what == "augmentation":
        store(
            classifier,
            splits,
            WHOLE,
            augmentation=make_augmentation(flip="horizontal", rotation=0.1),
        )
    elif what == "views":
        store(classifier, splits, WHOLE, count=VIEWS + 1)
    elif what == "layer":
        store(classifier, splits, 130)
    elif what == "images":
        changed = train.images[np.arange(len(train.images))]
        changed[train.rows[0]] += 1
        images = models.store(tmp_path / "other", changed)
        store(classifier, (replace(train, images=images), val), WHOLE)
    elif what == "rows":
        store(classifier, (replace(train, rows=train.rows[::-1].copy()), val), WHOLE)
    else:
        other = make_classifier()
        weight = other.get_layer("base").weights[0]
        weight.assign(weight + 1)
        store(other, splits, WHOLE)
    assert len(set(entries(cache)) - before) == 1


@pytest.mark.parametrize("name", ["shards.py", "operations.py"])
def test_other_code_gives_them_another_folder(classifier, splits, cache, monkeypatch, name):
    store(classifier, splits, WHOLE)
    before = set(entries(cache))
    monkeypatch.setattr(
        views, "sha256", lambda file: "changed" if file.name == name else sha256(file)
    )
    store(classifier, splits, WHOLE)
    assert len(set(entries(cache)) - before) == 1


def test_a_backbone_that_swaps_red_and_blue_has_a_folder_of_its_own(classifier, splits, cache):
    store(classifier, splits, WHOLE)
    before = set(entries(cache))
    base = classifier.get_layer("base")
    swapped = build_classifier(base, "VGG16", classes=2, dropout=0.2, seed=0)
    store(swapped, splits, WHOLE)
    assert len(set(entries(cache)) - before) == 1


def test_files_are_float16_and_equal_in_equal_runs(classifier, splits, cache):
    empty(cache)
    store(classifier, splits, WHOLE)
    (name,) = entries(cache)
    arrays = {}
    for part, rows in (("train", VIEWS * 10), ("val", 6)):
        array = np.load(cache / name / f"{part}.npy")
        assert (array.dtype, array.shape) == (np.float16, (rows, 1280))
        arrays[part] = (cache / name / f"{part}.npy").read_bytes()
    shutil.rmtree(cache / name)
    store(classifier, splits, WHOLE)
    for part, content in arrays.items():
        assert (cache / name / f"{part}.npy").read_bytes() == content


@pytest.mark.parametrize("damage", [lambda file: os.truncate(file, 1_000), os.remove])
def test_what_is_damaged_is_stored_again(classifier, splits, cache, damage):
    empty(cache)
    store(classifier, splits, WHOLE)
    (folder,) = (cache / name for name in entries(cache))
    before = sha256(folder / "train.npy")
    damage(folder / "train.npy")
    store(classifier, splits, WHOLE)
    assert sha256(folder / "train.npy") == before


def test_more_than_views_gb_is_refused_before_any_is_removed(classifier, splits, cache):
    empty(cache)
    store(classifier, splits, WHOLE)
    before = entries(cache)
    size = 2 * 1280 * (VIEWS * 10 + 6)
    other = make_augmentation(flip="horizontal", rotation=0.3)
    with pytest.raises(UserError, match="views_gb allows, .*; ask for fewer views"):
        store(classifier, splits, WHOLE, augmentation=other, gb=(size - 1) / 1e9)
    assert entries(cache) == before


def test_those_used_least_recently_make_room(classifier, splits, cache):
    empty(cache)
    recipes = [
        make_augmentation(flip="horizontal", rotation=rotation) for rotation in (0.1, 0.2, 0.3)
    ]
    names = []
    for age, recipe in zip((30, 20), recipes, strict=False):
        store(classifier, splits, WHOLE, augmentation=recipe)
        (new,) = set(entries(cache)) - set(names)
        names.append(new)
        os.utime(cache / new, (time.time() - age,) * 2)
    first = store(classifier, splits, WHOLE, augmentation=recipes[0])  # now the second is older
    size = sum(file.stat().st_size for file in (cache / names[0]).iterdir())
    store(classifier, splits, WHOLE, augmentation=recipes[2], gb=2.5 * size / 1e9)
    assert names[0] in entries(cache) and names[1] not in entries(cache)
    store(classifier, splits, WHOLE, augmentation=recipes[1], gb=1.5 * size / 1e9)
    assert names[0] not in entries(cache)
    assert first.train(INDICES, 1)[0].shape == (5, 1280)  # an open file outlives its name


@pytest.mark.parametrize("is_stored_now", [True, False])
def test_what_another_worker_stores_now_is_not_removed(classifier, splits, cache, is_stored_now):
    empty(cache)
    unfinished = cache / ".partial-other"
    unfinished.mkdir(parents=True)
    (unfinished / "train.npy").write_bytes(bytes(10**6))
    with FileLock(cache / "other.lock") if is_stored_now else nullcontext():
        store(classifier, splits, WHOLE, gb=1e-4)
    assert unfinished.exists() == is_stored_now


def test_those_that_nobody_used_for_a_month_go(classifier, splits, cache):
    empty(cache)
    store(classifier, splits, WHOLE)
    (old,) = entries(cache)
    os.utime(cache / old, (time.time() - KEPT_SECONDS - 60,) * 2)
    store(classifier, splits, VIEWS_AT)
    assert old not in entries(cache)


def test_a_killed_run_leaves_nothing_that_counts(classifier, splits, cache, monkeypatch):
    empty(cache)

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(views, "_write", killed)
        store(classifier, splits, WHOLE)
    assert entries(cache) == []
    store(classifier, splits, WHOLE)
    assert len(entries(cache)) == 1
