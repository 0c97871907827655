import numpy as np
import pytest

from tests.helpers.models import make_classifier, make_split
from transfer.core.errors import UserError
from transfer.core.runtime import keras
from transfer.models.classifier import unfreeze
from transfer.training.augmentation import Augmentation
from transfer.training.features import compute_features, load_features, write_features

VIEWS = 2
VIEWS_AT = 116  # block_13_expand
TRAIN, VAL = make_split(), make_split(pictures=6)
AUGMENTATION = Augmentation(0, "horizontal", 0.2)
PLACES = np.array([7, 0, 3, 9, 4])
HALF = 2**-10  # more than a float16 is rounded by, relative


@pytest.fixture(scope="module")
def classifier():
    return make_classifier()


@pytest.fixture(scope="module")
def folders(classifier, tmp_path_factory):
    folders = tmp_path_factory.mktemp("head"), tmp_path_factory.mktemp("fine_tune")
    unfreeze(classifier.get_layer("base"), 154)
    write(classifier, folders)
    return folders


def write(classifier, folders, views=VIEWS, views_at=VIEWS_AT, most_bytes=1e9):
    write_features(classifier, TRAIN, VAL, AUGMENTATION, views, views_at, most_bytes, folders)


def both(classifier, folders, first_layer):
    """Return features computed from the pictures and read from the folder."""
    folder = folders[first_layer < 154]
    return (
        compute_features(classifier, TRAIN, VAL, AUGMENTATION, "float32"),
        load_features(classifier, TRAIN, VAL, folder, first_layer, "float32"),
    )


def assert_near(found, expected, tolerance):
    assert [array.shape for array in found] == [array.shape for array in expected]
    for array, other in zip(found, expected, strict=True):
        assert np.abs(array - other).max() < tolerance * np.abs(other).max()


# Of what is stored, every number is rounded; layers on top of it make more of that.
@pytest.mark.parametrize(
    ("fine_tune_at", "first_layer", "tolerance"),
    [(VIEWS_AT, VIEWS_AT, HALF), (130, VIEWS_AT, 8 * HALF), (154, VIEWS_AT, 8 * HALF)]
    + [(154, 154, HALF)],
)
def test_stored_features_are_those_computed_anew(
    classifier, folders, fine_tune_at, first_layer, tolerance
):
    unfreeze(classifier.get_layer("base"), fine_tune_at)
    computed, stored = both(classifier, folders, first_layer)
    for view in (1, 2):
        assert_near(stored.train(PLACES, view), computed.train(PLACES, view), tolerance)
    assert_near(stored.val(PLACES[1:3], 1), computed.val(PLACES[1:3], 1), tolerance)
    features = computed.train(PLACES, 1)
    assert_near([stored.live(features)], [computed.live(features)], 1e-6)
    assert {id(v) for v in stored.live.trainable_variables} == {
        id(v) for v in classifier.get_layer("base").trainable_variables
    }


def test_views_are_counted(classifier, folders):
    computed, stored = both(classifier, folders, 154)
    assert (computed.views, stored.views) == (0, VIEWS)


@pytest.mark.parametrize("fine_tune_at", [0, VIEWS_AT, 154])
def test_computed_features_and_live_layers_are_the_classifier(classifier, fine_tune_at):
    base = classifier.get_layer("base")
    unfreeze(base, fine_tune_at)
    features = compute_features(classifier, TRAIN, VAL, AUGMENTATION, "float32")
    pooled = features.live(features.val(np.arange(6), 1), training=False)
    logits = classifier.get_layer("head").layers[-1](pooled)
    expected = classifier(VAL.images[VAL.rows])
    assert_near([keras.ops.convert_to_numpy(logits)], [expected.numpy()], 1e-3)
    for epoch in (1, 2):
        first, again = (features.train(PLACES, epoch)[0] for _ in range(2))
        np.testing.assert_array_equal(first, again)
    assert (features.train(PLACES, 1)[0] != first).any()


def test_files_are_float16_and_as_big_as_they_may_be(classifier, folders, tmp_path):
    size = 0
    for folder in folders:
        for name, views, pictures in (("train", VIEWS, 10), ("val", 1, 6)):
            array = np.load(folder / f"{name}.npy")
            assert (array.dtype, len(array)) == (np.float16, views * pictures)
            size += array.nbytes
    again = tmp_path / "head", tmp_path / "fine_tune"
    for folder in again:
        folder.mkdir()
    with pytest.raises(UserError, match="views_gb allows, .*; ask for fewer views"):
        write(classifier, again, most_bytes=size - 1)
    assert not list(tmp_path.glob("*/*"))
    write(classifier, again, most_bytes=size)
    for folder, other in zip(folders, again, strict=True):
        for name in ("train.npy", "val.npy"):
            assert (folder / name).read_bytes() == (other / name).read_bytes()
