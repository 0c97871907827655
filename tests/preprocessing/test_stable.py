import hashlib
from collections import Counter

import numpy as np
import pytest

from transfer.core.errors import UserError
from transfer.data.labels import SPLITS, label_images
from transfer.preprocessing.stable import assign_stably


def assign(paths, groups=None, keys=None, val=0.2, test=0.1, seed=0):
    """Return the splits by path; without groups and keys, of images that stand alone."""
    table = label_images(paths)
    groups = np.arange(len(paths)) if groups is None else groups
    keys = keys or [hashlib.sha256(path.encode()).hexdigest() for path in paths]
    splits = assign_stably(table, groups, keys, val, test, seed)
    return dict(zip(paths, (SPLITS[split] for split in splits), strict=True))


def paths_of(count, prefix=""):
    return [f"{prefix}{label}/{i}.jpg" for label in ("cats", "dogs") for i in range(count)]


def test_images_that_are_added_move_no_others_and_the_order_changes_nothing():
    before = assign(paths_of(200))
    after = assign(paths_of(400)[::-1])
    assert {path: after[path] for path in before} == before
    assert assign(paths_of(200), seed=1) != before


@pytest.mark.parametrize("label", ["cats", "dogs"])
def test_the_fractions_hold_on_average_in_each_class(label):
    found = Counter(s for path, s in assign(paths_of(5_000)).items() if path.startswith(label))
    # Standard deviations: 28 and 21.
    assert abs(found["val"] - 1_000) < 100 and abs(found["test"] - 500) < 80


def test_groups_stay_together_and_where_they_are():
    paths = paths_of(300)
    names = [path.split("/")[1][:-5] or "0" for path in paths]  # ten images each, of both classes
    groups = np.unique(names, return_inverse=True)[1]
    splits = assign(paths, groups, names)
    of_group = {}
    for path, name in zip(paths, names, strict=True):
        of_group.setdefault(name, set()).add(splits[path])
    assert all(len(found) == 1 for found in of_group.values())
    part = [i for i, name in enumerate(names) if name < "2"]
    some = [paths[i] for i in part]
    again = assign(some, groups[part], [names[i] for i in part])
    assert sum(again[path] == splits[path] for path in some) == len(some)


def test_a_small_class_is_in_every_split():
    for seed in range(20):
        found = assign(paths_of(4), seed=seed, val=0.05, test=0.05)
        for label in ("cats", "dogs"):
            assert {s for path, s in found.items() if path.startswith(label)} == set(SPLITS)


def test_given_splits_are_kept_and_divided():
    paths = paths_of(500, "train/") + paths_of(500, "validation/")
    found = assign(paths)
    assert {found[path] for path in paths[:1000]} == {"train"}
    divided = Counter(found[path] for path in paths[1000:])
    assert set(divided) == {"val", "test"} and abs(divided["test"] - 100) < 40
    paths = paths_of(500, "train/") + paths_of(50, "test/")
    found = assign(paths)
    assert {found[path] for path in paths[1000:]} == {"test"}
    assert abs(Counter(found.values())["val"] - 200) < 50


def test_a_class_that_is_too_small_is_named():
    with pytest.raises(UserError, match="train would have no images of .*dogs"):
        assign(["cats/1", "cats/2", "cats/3", "dogs/1", "dogs/2"], val=0.3, test=0.3)
