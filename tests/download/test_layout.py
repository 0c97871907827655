import pytest

from tests.helpers.archives import read, refuse, write_folder
from transfer.core.errors import UserError
from transfer.data.labels import split_named
from transfer.download.acquire import acquire_images
from transfer.download.layout import NO_FOLDER, arrange

pytestmark = pytest.mark.usefixtures("home")
BOTH = ("cats/1", "dogs/1")


def below(*folders, paths=BOTH):
    return [f"{folder}/{path}" for folder in folders for path in paths]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *((name, "train") for name in ("train", "TRAIN", "Training", "training_set", "seg_train")),
        *((name, "train") for name in ("train_images", "train-data", "trainset", "TrainImages")),
        *(
            (name, "train")
            for name in ("train2017", "images_train", "1_train", "train ", "imgTrain")
        ),
        *((name, "val") for name in ("val", "valid", "Validation", "dev", "dev_set", "val-images")),
        *(
            (name, "test")
            for name in ("test", "testing", "test_set", "seg_test", "test1", "Test Set")
        ),
        *((name, None) for name in ("cats", "train_station", "trains", "tests", "seg_pred", "set")),
        *((name, None) for name in ("train_test", "contest", "devil", "valve", "data", "", "1")),
    ],
)
def test_splits_are_known_by_their_usual_names(name, split):
    assert split_named(name) == split


@pytest.mark.parametrize("top", ["", "top/", "a/b/"])
@pytest.mark.parametrize(
    ("paths", "places"),
    [
        (BOTH, BOTH),
        (below("train", "test"), below("train", "test")),
        (below("training_set", "dev_set"), below("training_set", "dev_set")),
        (below("seg_train/seg_train", "seg_test/seg_test"), below("seg_train", "seg_test")),
        (below("train/train/Train", "val"), below("train", "val")),
        (below("train/images", "val/imgs/val"), below("train", "val")),
        (
            ["cats/train/1", "cats/test/2", "dogs/train/3", "dogs/test/x/4"],
            ["train/cats/1", "test/cats/2", "train/dogs/3", "test/dogs/x/4"],
        ),
        (["bus/1", "car/old/2", "Train/3"], ["bus/1", "car/old/2", "Train/3"]),
        (below("train", "val", paths=("bus/1", "train/2")),) * 2,
        (["cats/wild/1", "cats/tame/2", "dogs/3"], ["cats/wild/1", "cats/tame/2", "dogs/3"]),
        (["cats/images/1", "dogs/images/2"], ["cats/images/1", "dogs/images/2"]),
    ],
)
def test_folders_of_splits_and_classes_are_found_wherever_they_lie(paths, places, top):
    layout = arrange([top + path for path in paths])
    assert layout.places == {top + path: place for path, place in zip(paths, places, strict=True)}
    assert not layout.no_class
    assert not layout.copies


@pytest.mark.parametrize(
    ("paths", "without"),
    [
        (BOTH, ["1", "2"]),
        (below("train"), ["test/1", "test/2"]),
        (below("train"), ["test/test/1", "test/2"]),
        (below("train"), ["test/unknown/1"]),
        (below("train", "val"), ["train/1", "val/2", "3"]),
        (below("seg_train", "seg_test"), ["seg_pred/seg_pred/1", "seg_pred/2"]),
        (["cats/train/1", "cats/test/2", "dogs/train/3", "dogs/test/4"], ["cats/5"]),
        (below("top"), ["1", "2"]),
    ],
)
def test_images_of_no_class_are_named(paths, without):
    layout = arrange([*without, *paths])
    assert set(layout.places) == set(paths)
    assert layout.no_class == dict.fromkeys(without, NO_FOLDER)


@pytest.mark.parametrize(
    "paths", [BOTH, below("train", "val", "test"), below("seg_train/seg_train", "seg_test")]
)
@pytest.mark.parametrize("copy", ["pets", "pets/pets"])
def test_a_copy_of_the_whole_inside_the_whole_is_left_out(paths, copy):
    if copy == "pets/pets":
        paths = [*paths, *below("pets", paths=paths)]
        copy = "pets"
    copies = below(copy, paths=paths)
    layout = arrange([*paths, *copies])
    assert set(layout.places) == {path for path in paths if not path.startswith("pets")}
    assert {f"pets/{original}" for original in layout.copies.values()} == set(layout.copies)
    assert set(copies) <= set(layout.copies)


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["cats/1", "2"], "one folder per class, such as .* 2 images and 0 such folders"),
        (below("intel_train", "intel_test"), r"intel_test, intel_train hold .* \(cats, dogs\)"),
        (below("cats", "dogs", paths=("big/1", "small/2")), r"same names \(big, small\)"),
        (below("train", "test", "holdout"), r"holdout is beside folders of splits .* \(cats, dogs"),
        (below("train", "extra"), "or train/ with .* received extra, train; call the folders"),
        (below("val", "test"), "or train/ with .* received test, val"),
        (["train/1", "test/1"], "or train/ with .* received test, train"),
        (["train/1", "bus/1"], "or train/ with .* received bus, train"),
        (["cats/1", "dogs/1", "test/1"], "or train/ with .* received cats, dogs, test"),
        (["bus/a/1", "car/b/1", "train/c/1"], "or train/ with .* received bus, car, train"),
        (["cats/train/1", "cats/test/2", "dogs/3"], "inside of cats, and dogs has others"),
        (below("a/train", "a/test", "b/train", "b/test"), "inside of a, b, and test, train has"),
    ],
)
def test_folders_that_are_not_clear_are_refused_with_a_way_on(paths, message):
    with pytest.raises(UserError, match=message) as error:
        arrange(paths)
    assert "a table with" in str(error.value) or len(paths) == 2 and "such folders" in message


def test_images_are_moved_to_where_they_belong_and_others_removed(tmp_path, target):
    files = {f"{c}/{s}/1.jpg": f"{c}{s}".encode() for c in "ab" for s in ("train", "test")}
    source = write_folder(tmp_path / "in", files | {"a/2.jpg": b"loose", "3.jpg": b"loose"})
    left_out, _ = acquire_images(str(source), None, target)
    places = {f"{s}/{c}/1.jpg": f"{c}{s}".encode() for c in "ab" for s in ("train", "test")}
    assert read(target) == places
    assert [row.path for row in left_out.rejected] == ["3.jpg", "a/2.jpg"]


def test_a_copy_is_compared_with_the_original(tmp_path, target):
    files = {"a/1.jpg": b"a", "b/1.jpg": b"b", "all/a/1.jpg": b"a", "all/b/1.jpg": b"b"}
    left_out, _ = acquire_images(str(write_folder(tmp_path / "in", files)), None, target)
    assert read(target) == {"a/1.jpg": b"a", "b/1.jpg": b"b"}
    assert left_out.rejected[0] == (
        *("all/a/1.jpg", "the same image as a/1.jpg, in a copy of the whole", "second copies"),
    )
    source = write_folder(tmp_path / "other", files | {"all/b/1.jpg": b"B"})
    message = "'all/b/1.jpg' is in a folder that copies the whole, but .* 'b/1.jpg'"
    refuse(source, message, tmp_path / "new" / "raw")


def test_an_empty_folder_says_what_was_in_it(tmp_path, target):
    source = write_folder(
        tmp_path / "in", {"cats/1.heic": b"\0\0\0\x18ftypheic", "dogs/1.jpg": b""}
    )
    refuse(
        source, r"folder cats has no images; .* \(left out: 1 not images, the first cats/1", target
    )
