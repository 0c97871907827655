from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from transfer.core.errors import UserError
from transfer.data.labels import (
    COPY,
    SPLITS,
    TWO_LABELS,
    UNREADABLE,
    Rejected,
    label_images,
    summary,
)
from transfer.preprocessing.splits import assign_splits, check_rejected, drop_duplicates

LIST = Path("data/rejected.csv")


def alone(table):
    """Return groups of one image each."""
    return np.arange(len(table.paths))


def flat(**counts):
    return label_images([f"{c}/{i}.jpg" for c, n in counts.items() for i in range(n)])


def given(**splits):
    return label_images(
        [
            f"{s}/{c}/{i}"
            for s, counts in splits.items()
            for c, n in counts.items()
            for i in range(n)
        ]
    )


def counted(table, splits):
    labels = (table.class_names[label] for label in table.labels)
    return Counter(zip(named(splits), labels, strict=True))


def named(splits):
    return [SPLITS[code] for code in splits]


def test_labels_are_the_names_of_the_folders():
    table = label_images(["dogs/1.jpg", "cats/deep/er/2.jpg", "stray.jpg", "dogs/3.jpg"])
    assert table.paths == ["dogs/1.jpg", "cats/deep/er/2.jpg", "dogs/3.jpg"]
    assert table.class_names == ["cats", "dogs"]
    assert table.labels.tolist() == [1, 0, 1]
    assert table.given_splits.tolist() == [-1, -1, -1]


@pytest.mark.parametrize("val", ["validation", "val", "Valid"])
def test_split_folders_may_have_any_usual_name(val):
    paths = [f"{top}/{c}/1.jpg" for top in ("Train", val, "test") for c in ("cats", "dogs")]
    splits = label_images(paths).given_splits
    assert named(splits) == [split for split in ("train", "val", "test") for _ in range(2)]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["cats/1.jpg", "cats/2.jpg"], r"two or more classes; received \['cats'\]"),
        ([], "two or more classes; received none"),
        (["train/a/1", "train/b/1", "val/a/1"], "the val folder has no images of b"),
        (["val/a/1", "val/b/1", "test/a/1", "test/b/1"], "the split train, too; .* test, val"),
    ],
)
def test_wrong_layouts_are_refused(paths, message):
    with pytest.raises(UserError, match=message):
        label_images(paths)


def test_a_flat_layout_is_split_by_fractions_of_the_whole():
    table = flat(cats=100, dogs=50)
    splits = assign_splits(table, alone(table), val_fraction=0.2, test_fraction=0.1, seed=0)
    assert counted(table, splits) == {
        ("train", "cats"): 70,
        ("val", "cats"): 20,
        ("test", "cats"): 10,
        ("train", "dogs"): 35,
        ("val", "dogs"): 10,
        ("test", "dogs"): 5,
    }


def test_validation_folder_gives_the_test_images():
    table = given(train={"cats": 40, "dogs": 40}, val={"cats": 20, "dogs": 10})
    splits = assign_splits(table, alone(table), val_fraction=0.5, test_fraction=0.2, seed=0)
    assert named(splits[:80]) == ["train"] * 80
    assert counted(table, splits)["test", "cats"] == 4
    assert counted(table, splits)["test", "dogs"] == 2
    assert counted(table, splits)["val", "cats"] == 16


def test_given_splits_are_kept():
    table = given(**{split: {"a": 2, "b": 2} for split in ("train", "val", "test")})
    np.testing.assert_array_equal(
        assign_splits(table, alone(table), 0.2, 0.2, 0), table.given_splits
    )


def test_a_lone_test_folder_is_kept_and_validation_is_taken_from_training():
    table = given(train={"a": 40, "b": 40}, test={"a": 10, "b": 10})
    counts = Counter(named(assign_splits(table, alone(table), 0.2, 0.2, 0)))
    assert counts == {"train": 60, "val": 20, "test": 20}


def test_splits_depend_on_the_seed_alone():
    table = flat(cats=20, dogs=20)
    splits = [assign_splits(table, alone(table), 0.2, 0.2, seed).tolist() for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (flat(cats=20, dogs=1), "too few images to have .*: dogs has 1; a class needs about 5,"),
        (flat(cats=20, rare=2), "rare has 2; a class needs about 5, which is 1 / 0.2: add images,"),
        (flat(cats=2, dogs=2), "cats has 2, dogs has 2; a class needs about 5"),
        (flat(**{f"c{i}": 4 for i in range(60)}), r"c0 has 4, .*, …; a class needs about 5"),
        (
            given(train={"a": 9, "b": 9}, val={"a": 9, "b": 1}),
            "too few images in the val folder .*: b has 1; a class needs about 5",
        ),
        (
            given(train={"a": 99, "b": 1}, test={"a": 9, "b": 9}),
            "too few images in the train folder .*: b has 1; a class needs about 5",
        ),
        (
            given(train={"a": 9, "b": 9}, test={"a": 9, "b": 9}).at(np.arange(18, 36)),
            "too few images in the train folder .*: a has 0, b has 0; a class needs about 5",
        ),
    ],
)
def test_classes_of_too_few_images_are_named(table, message):
    with pytest.raises(UserError, match=message):
        assign_splits(table, alone(table), 0.2, 0.2, 0)


def test_one_image_of_each_content_is_kept_and_none_that_has_two_labels():
    table = flat(cats=3, dogs=2)
    kept, rejected = drop_duplicates(table, np.array([*"xxyyz"]))
    assert kept.tolist() == [0, 4]
    both = "the same image is labelled cats (cats/2.jpg) and dogs (dogs/0.jpg)"
    assert rejected == [
        ("cats/1.jpg", "the same image as cats/0.jpg", COPY),
        ("cats/2.jpg", both, TWO_LABELS),
        ("dogs/0.jpg", both, TWO_LABELS),
    ]


def test_the_first_image_of_each_label_is_named():
    _, rejected = drop_duplicates(flat(dogs=2, cats=2), np.array([*"xxxx"]))
    assert {reason for _, reason, _ in rejected} == {
        "the same image is labelled cats (cats/0.jpg) and dogs (dogs/0.jpg)"
    }


def test_line_breaks_in_names_are_not_in_reasons():
    table = label_images(["a/\n1", "a/\n2", "b/1"])
    _, rejected = drop_duplicates(table, np.array([*"xxy"]))
    assert rejected == [("a/\n2", r"the same image as a/\n1", COPY)]


def reject(kind, paths):
    return [Rejected(path, f"reason of {path}", kind) for path in paths]


def test_rejections_are_allowed_up_to_the_limit():
    table = flat(cats=10, dogs=10)
    rejected = reject(UNREADABLE, table.paths[8:10]) + reject(TWO_LABELS, table.paths[10:12])
    check_rejected(table, rejected, 0.2, LIST)
    with pytest.raises(UserError) as error:
        check_rejected(table, rejected, 0.19, LIST)
    assert str(error.value) == (
        "4 of the 20 images can't be used, and max_rejected is 0.19: "
        "2 unreadable, the first cats/8.jpg: reason of cats/8.jpg; "
        "2 with two labels, the first dogs/0.jpg: reason of dogs/0.jpg; "
        "data/rejected.csv lists them all: fix or remove them, or raise max_rejected"
    )


def test_second_copies_do_not_count():
    table = flat(cats=10, dogs=10)
    check_rejected(table, reject(COPY, table.paths[1:10]), 0, LIST)


def test_a_class_without_an_image_left_is_an_error():
    table = flat(cats=100, do_gs=1)
    message = (
        "none of the images of do_gs can be used; the first, do_gs/0.jpg: reason of "
        "do_gs/0.jpg; data/rejected.csv lists them all: replace them, or remove the class"
    )
    with pytest.raises(UserError, match=message):
        check_rejected(table, reject(UNREADABLE, table.paths[100:]), 1, LIST)


def test_a_summary_has_a_line_for_each_kind():
    paths = [f"c\nats/{i}.jpg" for i in range(1200)]
    assert summary(reject(COPY, paths) + reject(UNREADABLE, paths[:1])) == [
        r"1 unreadable, the first c\nats/0.jpg: reason of c\nats/0.jpg",
        r"1,200 second copies, the first c\nats/0.jpg: reason of c\nats/0.jpg",
    ]


def test_the_images_kept_are_in_their_order():
    kept, _ = drop_duplicates(flat(a=4, b=1), np.array([*"qpqoz"]))
    assert kept.tolist() == [0, 1, 3, 4]


def test_a_given_split_that_lost_a_class_is_an_error():
    both = {"a": 5, "b": 5}
    table = given(train=both, val=both, test=both).at(np.arange(25))  # none of the last five
    with pytest.raises(UserError, match="test would have no images of b; add images of it"):
        assign_splits(table, alone(table), 0.2, 0.2, 0)
