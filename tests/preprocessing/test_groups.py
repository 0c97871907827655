import numpy as np
import pytest

from transfer.core.errors import UserError
from transfer.data.labels import SPLITS, label_images
from transfer.preprocessing.groups import check_given_splits, join_groups, name_groups
from transfer.preprocessing.splits import assign_splits

BURSTS = [f"{c}/{c}{burst}_{i}.jpg" for c in ("cat", "dog") for burst in range(15) for i in (1, 2)]


def test_a_pattern_names_groups_by_the_file_and_a_table_wins():
    paths = ["cat/7_1.jpg", "cat/7_2.jpg", "dog/x.jpg", "dog/8_1.jpg"]
    assert name_groups(paths, {}, None) == ["", "", "", ""]
    assert name_groups(paths, {}, r"^(\d+)_") == ["7", "7", "", "8"]
    assert name_groups(paths, {}, r"\d+_") == ["7_", "7_", "", "8_"]
    assert name_groups(paths, {"dog/x.jpg": "rex"}, r"^(\d+)_") == ["7", "7", "rex", "8"]


def test_groups_and_pairs_that_share_an_image_are_one():
    codes = join_groups(["a", "", "a", "", "b", ""], [(1, 2), (3, 5)])
    assert codes[0] == codes[1] == codes[2]
    assert codes[3] == codes[5]
    assert len(set(codes.tolist())) == 3


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_in_two_splits_and_the_classes_keep_their_shares(seed):
    table = label_images(BURSTS)
    names = name_groups(table.paths, {}, r"^(.+)_")
    splits = assign_splits(table, join_groups(names, []), 0.2, 0.2, seed)
    assert len({*zip(names, splits.tolist(), strict=True)}) == len({*names}) == 30
    for label in (0, 1):
        assert np.bincount(splits[table.labels == label]).tolist() == [18, 6, 6]


def test_groups_of_two_classes_and_of_any_size_stay_whole():
    rng = np.random.default_rng(0)
    table = label_images([f"{'ab'[i % 2]}/{i}.jpg" for i in range(400)])
    groups = rng.integers(0, 60, 400)
    splits = assign_splits(table, groups, 0.15, 0.3, 0)
    assert len({*zip(groups.tolist(), splits.tolist(), strict=True)}) == len({*groups.tolist()})
    assert np.bincount(splits) / 400 == pytest.approx([0.55, 0.15, 0.3], abs=0.05)


def test_too_few_groups_are_named():
    table = label_images([f"{c}/{c}{g}_{i}.jpg" for c in "ab" for g in (1, 2) for i in range(9)])
    names = name_groups(table.paths, {}, r"^(.+)_")
    expected = "too few groups of images to have .*: a has 2, b has 2; a class needs about 5"
    with pytest.raises(UserError, match=expected):
        assign_splits(table, join_groups(names, []), 0.2, 0.2, 0)


def test_a_group_in_two_given_splits_is_refused():
    tops = ("train", "validation")
    paths = [f"{top}/{c}/{c}{i}_{top}.jpg" for top in tops for c in ("cat", "dog") for i in (1, 2)]
    table = label_images(paths)
    names = name_groups(table.paths, {}, r"^(.+)_")
    expected = r"group 'cat1' stands in train \(train/cat/cat1_train.jpg\) and in val"
    with pytest.raises(UserError, match=expected):
        check_given_splits(table, names)
    check_given_splits(table, [""] * len(names))
    assert SPLITS[table.given_splits[0]] == "train"
