import hashlib

import numpy as np
import pytest

from tests.helpers.project import PROJECT
from transfer.core.errors import UserError
from transfer.core.files import CORRECTIONS
from transfer.data.labels import EXCLUDE, SPLITS, label_images
from transfer.preprocessing.corrections import (
    COLUMNS,
    Correction,
    apply_corrections,
    read_corrections,
    write_corrections,
)
from transfer.preprocessing.splits import assign_corrected, assign_splits, drop_duplicates

HEADER = "sha256,path,old,new,who,why\n"
A, B, C = (digit * 64 for digit in "abc")


def digest(content):
    return hashlib.sha256(content.encode()).digest()


def hashed(*contents):
    return np.array([digest(content) for content in contents], "S32")


def decided(content, old, new, **more):
    correction = Correction(digest(content).hex(), f"{old}/{content}", old, new, line=2, **more)
    return {correction.sha256: correction}


def corrected(corrections, paths, contents):
    return apply_corrections(corrections, label_images(paths), hashed(*contents))


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "corrections.csv"
        path.write_bytes(text.encode())
        return read_corrections(path)

    return read


def test_the_projects_own_file_can_be_read():
    read_corrections(PROJECT / CORRECTIONS)


def test_no_file_is_no_corrections(tmp_path):
    assert read_corrections(tmp_path / "corrections.csv") == {}


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}{A},cats/1.jpg,cats,dogs,Eva,\n",
        f"\ufeff{HEADER}{A.upper()},cats/1.jpg,cats,dogs,Eva,\r\n\r\n",  # from a spreadsheet
        f"new,old,path,sha256,who\ndogs,cats,cats/1.jpg,{A},Eva\n",
        f"{HEADER}{A},cats/1.jpg,cats,dogs,Eva\n{A},copy.jpg,cats,dogs,Ada,sure\n",
    ],
)
def test_rows_are_read_by_hash(read, text):
    (correction,) = read(text).values()
    assert correction == Correction(A, "cats/1.jpg", "cats", "dogs", "Eva", line=2)


def test_what_is_written_is_read_in_an_order_that_does_not_depend_on_decisions(tmp_path):
    rows = [
        Correction(A, 'b/"1,2".jpg', "b", "a", "Eva", "two\nlines"),
        Correction(B, "a/ü\n.jpg", " b", EXCLUDE),
        Correction(C, "a/1.jpg", "a", "a"),
    ]
    path = tmp_path / "corrections.csv"
    for order in (rows, rows[::-1]):
        write_corrections(path, order)
        read = [correction._replace(line=0) for correction in read_corrections(path).values()]
        assert read == rows[::-1]
    assert path.read_text().startswith(HEADER)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"expected a header with the columns sha256, path, old, new, who, why"),
        ("sha256;path;old;new\n", "separated by commas; received .'sha256;path;old;new'"),
        ("sha256,path,old\n", "received .'sha256', 'path', 'old'"),
        ("sha256,path,old,new,label\n", "received .*'label'"),
        ("sha256,path,old,new,new\n", "received .*'new', 'new'"),
        (f"{HEADER}{A},p,a,b\n\n{A[1:]},p,a,b\n", "line 4: expected the SHA-256.*received 'aaa"),
        (f"{HEADER}{A[1:]}g,p,a,b\n", "line 2: expected the SHA-256 .* 64 hexadecimal digits"),
        (f"{HEADER}<<<<<<< HEAD\n", "line 2: expected the SHA-256.*received '<<<<<<< HEAD'"),
        (f"{HEADER}{A},p,a\n", "line 2: expected a label in the column new"),
        (f"{HEADER}{A},p,,a\n", "line 2: expected a label in the column old"),
        (f"{HEADER}{A},p,a,b,c,d,e\n", "line 2: expected 6 columns; received more"),
        (
            f"{HEADER}{A},p,a,b\n{B},p,a,b\n{A},q,a,c\n",
            r"line 4 \(q\): line 2 is about the same image; remove one. Received 'a' to 'b', and",
        ),
        (f'{HEADER}"{A}\n', "expected a CSV file in UTF-8: unexpected end of data"),
    ],
)
def test_malformed_rows_are_refused_with_their_line(read, text, message):
    with pytest.raises(UserError, match=message):
        read(text)


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "corrections.csv"
    path.write_bytes(HEADER.encode() + b"\xff")
    with pytest.raises(UserError, match="expected a CSV file in UTF-8"):
        read_corrections(path)


def test_labels_change_by_content_and_images_are_excluded():
    # This content's hash ends with a zero byte, which NumPy takes for padding.
    ends = next(str(i) for i in range(10_000) if digest(str(i)).endswith(b"\0"))
    decisions = decided(ends, "cats", "dogs") | decided("y", "dogs", EXCLUDE, why="no\nanimal")
    paths = ["cats/1", "cats/2", "dogs/1", "dogs/2"]
    found = corrected(decisions, paths, [ends, "x", "y", "z"])
    assert found.table.labels.tolist() == [1, 0, 1, 1]
    assert found.given.tolist() == [0, 0, 1, 1]
    assert found.excluded == {2: r"excluded by corrections.csv: no\nanimal"}
    assert not found.settled.any() and found.idle == []
    used, excluded, splits = np.array([0, 1, 3]), np.array([2]), np.array([0, 0, 2, 1])
    changes = found.changes(splits, used, excluded)
    assert changes == [("cats/1", "train", "cats", "dogs"), ("dogs/1", "test", "dogs", EXCLUDE)]
    assert found.summary(changes) == [
        "corrections.csv, rows: 2, labels changed: 1, images left out: 1"
    ]


def test_a_confirmed_label_changes_nothing():
    found = corrected(decided("x", "cats", "cats"), ["cats/1", "dogs/1"], "xy")
    assert found.table.labels.tolist() == [0, 1]
    assert found.changes(np.zeros(2, int), np.arange(2), np.array([], int)) == []
    assert found.idle == []


@pytest.mark.parametrize(
    ("new", "labels", "kept"), [("cats", [0, 0, 1], 2), ("dogs", [1, 1, 1], 2), (EXCLUDE, None, 2)]
)
def test_a_correction_settles_two_labels_of_one_content(new, labels, kept):
    paths = ["cats/1", "dogs/1", "dogs/2"]
    found = corrected(decided("x", "dogs", new), paths, "xxy")
    assert found.settled.tolist() == [True, True, False]
    indices, rejected = drop_duplicates(found.table, hashed(*"xxy"))
    assert len(indices) == kept and [image.kind for image in rejected] == ["second copies"]
    if new == EXCLUDE:
        assert set(found.excluded) == {0, 1}
        assert found.changes(np.zeros(3, int), np.array([2]), np.array([0])) == []
    else:
        assert found.table.labels.tolist() == labels


def test_corrections_without_effect_are_named():
    decisions = decided("x", "cats", "dogs")
    for number in range(5):
        decisions |= decided(f"new\n{number}", "no", "matter")
    found = corrected(decisions, ["cats/1", "dogs/1"], "yx")
    assert found.table.labels.tolist() == [0, 1]
    assert found.summary([]) == [
        "corrections.csv, rows: 6, labels changed: 0, images left out: 0",
        *(rf"corrections.csv, line 2 (no/new\n{number}) matches no image" for number in range(3)),
        "5 rows of corrections.csv match no image",
        "corrections.csv, line 2 (cats/x) has no effect: the label is dogs, no longer cats; remove "
        "the row, or correct its column old",
    ]


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("dgos", r"line 2 \(cats/x\): expected a class .*received 'dgos' \(did you mean dogs\?\)"),
        ("excluded", r"or exclude to leave .*received 'excluded' \(did you mean exclude\?\)"),
        ("Dogs", r"A new class can't come by correction: it needs images in a folder"),
    ],
)
def test_an_unknown_new_label_is_refused(new, message):
    with pytest.raises(UserError, match=message):
        corrected(decided("x", "cats", new), ["cats/1", "dogs/1"], "xy")


def test_a_class_called_exclude_needs_another_name():
    with pytest.raises(UserError, match="is the name of a class, too; rename the class"):
        corrected(decided("x", "cats", EXCLUDE), ["cats/1", f"{EXCLUDE}/1"], "xy")


def split_with(decisions, paths, contents, groups=None):
    """Return split and label of each image by path, as the stage assigns them."""
    groups = np.arange(len(paths)) if groups is None else groups
    table, hashes = label_images(paths), hashed(*contents)
    found = apply_corrections(decisions, table, hashes)
    kept, _ = drop_duplicates(found.table, hashes)
    out = np.isin(kept, [*found.excluded])

    def assign(rows):
        return assign_splits(table.at(rows), groups[rows], 0.2, 0.2, 0)

    splits = assign_corrected(table, found, groups, kept[~out], kept[out], assign)
    return {paths[i]: (SPLITS[splits[i]], found.table.labels[i]) for i in kept[~out]}


def test_corrections_move_no_image_to_another_split():
    paths = [f"{label}/{i}" for label in ("cats", "dogs") for i in range(40)] + ["dogs/twin"]
    contents = [*map(str, range(80)), "0"]  # the last has the content of the first: two labels
    before = split_with({}, paths, contents)
    kept = np.arange(1, 80)
    splits = assign_splits(label_images(paths).at(kept), kept, 0.2, 0.2, 0)
    assert before == {paths[i]: (SPLITS[splits[i - 1]], int(i >= 40)) for i in kept}

    decisions = decided("0", "dogs", "dogs")  # settled: for training
    for number in range(3, 9):
        decisions |= decided(str(number), "cats", "dogs")
    for number in range(50, 55):
        decisions |= decided(str(number), "dogs", EXCLUDE)
    expected = before | {"cats/0": ("train", 1)}
    expected |= {f"cats/{i}": (before[f"cats/{i}"][0], 1) for i in range(3, 9)}
    for number in range(50, 55):
        del expected[paths[number]]
    assert split_with(decisions, paths, contents) == expected


def test_a_settled_image_joins_its_group():
    paths = [f"{c}/{i:02}" for c in "ab" for i in range(20)]
    contents = [*map(str, range(39)), "0"]  # a/00 and b/19
    groups = np.arange(40) // 2
    splits = [split_with(decided(str(n), "a", "a"), paths, contents, groups) for n in (0, 2)]
    assert "a/00" not in splits[1]
    assert splits[0]["a/00"][0] == splits[0]["a/01"][0] == splits[1]["a/01"][0] == "val"


def test_a_settled_image_stays_in_the_split_of_its_folder():
    paths = [f"{top}/{c}/{i}" for top in ("train", "val") for c in "ab" for i in range(9)]
    contents = [*map(str, range(35)), "18"]  # val/a/0 and val/b/8
    splits = split_with(decided("18", "b", "b"), paths, contents)
    assert splits["val/a/0"] == ("val", 1)


def test_a_split_that_lost_a_class_by_corrections_is_an_error():
    paths = [f"{top}/{c}/{i}" for top in ("train", "val", "test") for c in "ab" for i in range(2)]
    contents = [*map(str, range(12))]
    decisions = decided("10", "b", "a") | decided("11", "b", EXCLUDE)
    message = "test would have no images of b; add images of it, or correct fewer of its images"
    with pytest.raises(UserError, match=message):
        split_with(decisions, paths, contents)


def test_the_guide_shows_the_columns():
    assert f"\n{','.join(COLUMNS)}\n" in (PROJECT / "docs/data.md").read_text()
