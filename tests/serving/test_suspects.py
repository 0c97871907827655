"""What app/review.py shows and writes, without a browser."""

import hashlib

import numpy as np
import pytest
from PIL import Image
from streamlit.runtime.state import SessionStateProxy

from app import review as page
from app import suspects
from app.suspects import Suspect, load_review, missing_file, replace_decision
from tests.helpers.models import store
from transfer.core.errors import UserError
from transfer.core.files import CORRECTIONS, RAW, SPLIT, SUSPECTS, write_csv
from transfer.data.dataset import CORRECTED, CORRECTED_COLUMNS, IMAGES, MANIFEST, MANIFEST_COLUMNS
from transfer.preprocessing.corrections import Correction, read_corrections

SIZE = 4
PATHS = ("a/0.png", "a/1.png", "a/2.png", "b/3.png", "b/4.png")


def content(number):
    return hashlib.sha256((RAW / PATHS[number]).read_bytes()).hexdigest()


def suspect(number, kind="label", **changes):
    row = (PATHS[number], content(number), "train", kind, PATHS[number][0], "b", "0.9", "0.5", "")
    return Suspect(*row)._replace(**changes)


def write_suspects(*rows):
    write_csv(SUSPECTS, Suspect._fields, rows)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder with five images, of which the second has another label by correction."""
    monkeypatch.chdir(tmp_path)
    for number, path in enumerate(PATHS):
        (RAW / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), (number, 0, 0)).save(RAW / path)
    SPLIT.mkdir()
    hashes = [content(number) for number in range(5)]
    pixels = np.full((5, SIZE, SIZE, 3), np.arange(5)[:, None, None, None], "u1")
    store(SPLIT / IMAGES, pixels, hashes)
    labels = ("a", "b", "a", "b", "b")
    rows = [(p, labels[i], "train", content(i), 30, 20) for i, p in enumerate(PATHS)]
    write_csv(SPLIT / MANIFEST, MANIFEST_COLUMNS, rows)
    changes = [("a/1.png", "train", "a", "b"), ("gone.png", "test", "a", "exclude")]
    write_csv(SPLIT / CORRECTED, CORRECTED_COLUMNS, changes)
    return tmp_path


def test_the_first_missing_file_is_named_with_what_makes_it():
    assert missing_file() == (
        "There is no data/suspects.csv: `dvc pull data/suspects.csv` fetches it, `dvc repro` "
        "makes it."
    )
    write_suspects()
    assert missing_file() is None
    (SPLIT / MANIFEST).unlink()
    assert missing_file().startswith("There is no data/split/manifest.csv: `dvc pull data/split`")


def test_each_content_is_shown_once_and_what_is_no_longer_in_the_split_is_counted():
    write_suspects(
        suspect(0),
        suspect(0, kind="twins"),
        suspect(1),  # its label is b now
        suspect(2, sha256="0" * 64),
        suspect(3)._replace(path="b/gone.png", sha256="1" * 64),
        suspect(4, other="a/2.png"),
    )
    review = load_review()
    assert [(s.path, s.kind) for s in review.suspects] == [
        ("a/0.png", "label"),
        (PATHS[4], "label"),
    ]
    assert review.outdated == 3
    assert review.stored == {"a/0.png": (0, "a"), "a/1.png": (1, "b"), "a/2.png": (2, "a")} | {
        "b/4.png": (4, "b")
    }
    assert (review.square("a/2.png") == 2).all()


def test_other_columns_are_refused():
    write_csv(SUSPECTS, ("path", "sha256"), [("a/0.png", content(0))])
    with pytest.raises(UserError, match=r"suspects.csv: expected the columns path, .*'sha256'"):
        load_review()


def test_the_whole_image_is_shown_if_it_is_the_one_that_was_split():
    write_suspects(suspect(0))
    review = load_review()
    assert review.whole_image(review.suspects[0]).size == (30, 20)
    Image.new("RGB", (30, 20), "white").save(RAW / PATHS[0])  # a newer data/raw
    assert review.whole_image(review.suspects[0]).shape == (SIZE, SIZE, 3)
    (RAW / PATHS[0]).unlink()
    assert (review.whole_image(review.suspects[0]) == 0).all()


def test_a_large_image_is_made_smaller(monkeypatch):
    monkeypatch.setattr(suspects, "MAX_SIDE", 15)
    write_suspects(suspect(0))
    review = load_review()
    assert review.whole_image(review.suspects[0]).size == (15, 10)


def test_examples_are_training_images_that_are_no_suspects():
    write_suspects(suspect(0), suspect(4))
    review = load_review()
    assert review.examples("a", 5)[:, 0, 0, 0].tolist() == [2]
    assert review.examples("b", 1)[:, 0, 0, 0].tolist() == [1]
    assert len(review.examples("none", 5)) == 0


def test_suspects_without_a_decision_about_their_label_come_next():
    write_suspects(suspect(0), suspect(1, label="b"), suspect(2), suspect(3))
    review = load_review()
    assert review.old_label(review.suspects[1]) == "a"  # before its correction
    decided = [
        Correction(content(0), "", "a", "a"),
        Correction(content(1), "", "a", "b"),
        Correction(content(2), "", "b", "a"),  # about a label that it no longer has
    ]
    corrections = {correction.sha256: correction for correction in decided}
    found = [review.decision(s, corrections) for s in review.suspects]
    assert found == [*decided[:2], None, None]
    assert [review.next_open(corrections, after) for after in (-1, 0, 2, 3)] == [2, 2, 3, 2]
    more = {content(n): Correction(content(n), "", PATHS[n][0], "b") for n in (2, 3)}
    assert review.next_open(corrections | more, 1) == 4


def test_decisions_are_written_replaced_and_removed():
    first, again = Correction("a" * 64, "x", "a", "b", "Eva"), Correction("a" * 64, "x", "a", "a")
    other = Correction("b" * 64, "w", "a", "exclude")
    assert replace_decision(first.sha256, first) is None
    assert replace_decision(other.sha256, other) is None
    assert CORRECTIONS.read_text().splitlines()[1:] == [
        f"{other.sha256},w,a,exclude,,",
        f"{first.sha256},x,a,b,Eva,",
    ]
    assert replace_decision(first.sha256, again)._replace(line=0) == first
    assert replace_decision(first.sha256, first)._replace(line=0) == again
    replace_decision(first.sha256, None)
    assert list(read_corrections(CORRECTIONS)) == [other.sha256]


def test_a_press_of_a_button_that_was_shown_for_another_image_decides_nothing(monkeypatch):
    monkeypatch.setattr(page, "state", SessionStateProxy())
    write_suspects(suspect(0), suspect(3))
    review = load_review()
    page.state.update(position=0, undo=[], who=" Eva ")
    page.decide(review, 0, "b")
    assert page.state.position == 1
    written = CORRECTIONS.read_text()
    assert written.splitlines()[1:] == [f"{content(0)},a/0.png,a,b,Eva,"]
    page.decide(review, 0, "exclude")
    assert (CORRECTIONS.read_text(), page.state.position, len(page.state.undo)) == (written, 1, 1)
    page.undo(review)
    page.undo(review)  # there is nothing left to take back
    assert (CORRECTIONS.read_text().count("\n"), page.state.position, page.state.undo) == (1, 0, [])
