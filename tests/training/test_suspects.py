"""Planted wrong labels, twins and outliers are named; right labels are not."""

import numpy as np
import pytest

from transfer.core.files import read_csv, write_csv
from transfer.training import confident, suspects
from transfer.training.kept import KeptFeatures
from transfer.training.suspects import COLUMNS, Suspect, find_suspects, summary, write_suspects

CLASSES, EACH, WIDTH = 3, 40, 30


def make_features(count=EACH):
    """Return features around a centre for each class, float32 [N, D], and labels."""
    rng = np.random.default_rng(0)
    labels = np.arange(CLASSES * count) % CLASSES
    centres = 4 * np.eye(CLASSES, WIDTH)
    return (centres[labels] + rng.normal(0, 0.5, (len(labels), WIDTH)) + 1).astype("f"), labels


@pytest.fixture
def find(tmp_path):
    def find(features, labels, seed=0):
        kept = KeptFeatures(tmp_path, *features.shape)
        kept.keep(np.arange(len(features)), features)
        return find_suspects(kept, labels, seed)

    return find


def test_of_right_labels_none_is_named(find):
    assert find(*make_features()) == []


def test_planted_labels_are_named_the_surest_first(find):
    features, labels = make_features()
    wrong = labels.copy()
    wrong[[4, 17, 50]] = (labels[[4, 17, 50]] + 1) % CLASSES
    found = find(features, wrong)
    assert {s.row for s in found} == {4, 17, 50}
    for s in found:
        assert (s.kind, s.suggested) == ("label", labels[s.row])
        assert s.probability < 0.5 and s.score == pytest.approx(1 - s.probability)
        of_class = np.flatnonzero(wrong == s.suggested)
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        assert s.other == of_class[np.argmax(unit[of_class] @ unit[s.row])]
    assert [s.score for s in found] == sorted((s.score for s in found), reverse=True)


def test_twins_are_named_once_with_each_other(find):
    features, labels = make_features()
    features[10] = features[0] + 0.01  # 0 is of class 0, 10 of class 1
    (twins,) = find(features, labels)
    assert twins.kind == "twins" and {twins.row, twins.other} == {0, 10}
    assert twins.suggested == labels[twins.other] != labels[twins.row]
    assert suspects.TWINS < twins.score <= 1
    features[10], features[9] = make_features()[0][10], features[0]  # both of class 0
    assert find(features, labels) == []


def test_an_image_unlike_its_class_is_an_outlier(find):
    features, labels = make_features()
    features[5] = features[labels == labels[5]].mean(axis=0)
    features[5, 20:] = 8
    (outlier,) = find(features, labels)
    assert outlier[:3] == (5, "outlier", None) and outlier.other is None
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    others = np.setdiff1d(np.flatnonzero(labels == labels[5]), [5])
    nearest = np.sort(unit[others] @ unit[5])[-suspects.NEIGHBOURS :]
    assert outlier.score == pytest.approx(1 - nearest.mean(), abs=1e-3)


def test_an_image_is_named_once(find):
    features, labels = make_features()
    labels[[1, 4, 7]] = 0
    features[9] = features[1] + 0.01  # of class 0, as 1 is now
    features[2] = features[7]  # of class 2
    found = find(features, labels)
    assert len({s.row for s in found}) == len(found) >= 3


def test_the_same_images_give_the_same_suspects_whatever_the_block(find, monkeypatch):
    features, labels = make_features()
    labels[[3, 8]] = (labels[[3, 8]] + 1) % CLASSES
    first = find(features, labels)
    assert find(features, labels) == first != []
    monkeypatch.setattr(suspects.blocks, "__defaults__", (7,))
    again = find(features, labels)
    assert [s[:3] for s in again] == [s[:3] for s in first]
    assert [s.score for s in again] == pytest.approx([s.score for s in first], abs=1e-5)


def test_of_a_large_set_some_images_are_learned_from_and_all_are_judged(find, monkeypatch):
    monkeypatch.setattr(confident, "MAX_ROWS", 60)
    monkeypatch.setattr(suspects, "MAX_COMPARED", 12)
    monkeypatch.setattr(suspects, "MAX_TWINS", 5)
    learned, fit = [], confident.LogisticRegression.fit
    monkeypatch.setattr(
        confident.LogisticRegression,
        "fit",
        lambda self, x, y: learned.append(len(y)) or fit(self, x, y),
    )
    features, labels = make_features()
    wrong = labels.copy()
    planted = [0, 16, 41, 90]
    wrong[planted] = (labels[planted] + 1) % CLASSES
    assert sorted(s.row for s in find(features, wrong)) == planted
    assert max(learned) <= 48 and len(learned) == confident.ROUNDS * confident.FOLDS


def test_a_class_of_three_images_keeps_some_to_learn_from(find):
    features, labels = make_features()
    keep = (labels != 2) | (np.arange(len(labels)) < 9)
    features, labels = features[keep], labels[keep]
    features[labels == 2] = features[labels == 0][:3] * 1.01  # they look like class 0
    found = find(features, labels)
    assert {s.kind for s in found} <= {"label", "twins"}
    assert {s.row for s in found if s.kind == "twins"} == {*np.flatnonzero(labels == 2)}


def test_as_many_are_named_as_were_counted_those_with_the_least_probability():
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    found = np.eye(3)[labels] * 0.8 + 0.05  # a threshold of 0.85 for classes 1 and 2
    found[0] = [0.3, 0.7, 0.0]
    found[1] = [0.2, 0.5, 0.3]
    by_class = [np.flatnonzero(labels == c) for c in range(3)]
    own, looks_like, is_wrong = confident.confident_learning(
        lambda: iter([(np.arange(3), found[:3]), (np.arange(3, 8), found[3:])]), labels, by_class
    )
    assert own == pytest.approx(found[np.arange(8), labels])
    assert looks_like.tolist() == [1, 1, 0, 0, 1, 1, 2, 2]
    assert not is_wrong.any()
    found[4:6, 1] = 0.65  # the threshold of class 1: row 0 is counted, and row 1 less probable
    *_, is_wrong = confident.confident_learning(
        lambda: iter([(np.arange(8), found)]), labels, by_class
    )
    assert np.flatnonzero(is_wrong).tolist() == [1]


def test_the_table_has_what_the_manifest_says(tmp_path):
    images = [(f"{name}.jpg", name[0], "train", f"hash {name}") for name in ("a,1", "b2", "a3")]
    write_csv(tmp_path / "manifest.csv", ("path", "label", "split", "sha256"), images)
    found = [Suspect(0, "label", 1, 0.25, 0.75, 1), Suspect(2, "outlier", None, 0.5, 0.123, None)]
    rows = write_suspects(tmp_path / "s.csv", found, tmp_path / "manifest.csv", ["a", "b"])
    assert list(read_csv(tmp_path / "s.csv")) == [
        {
            **{"path": "a,1.jpg", "sha256": "hash a,1", "split": "train", "kind": "label"},
            **{"label": "a", "suggested": "b", "probability": "0.25", "score": "0.75"},
            "other": "b2.jpg",
        },
        {
            **{"path": "a3.jpg", "sha256": "hash a3", "split": "train", "kind": "outlier"},
            **{"label": "a", "suggested": "", "probability": "0.5", "score": "0.123", "other": ""},
        },
    ]
    assert summary(rows, "s.csv") == (
        "1 suspicious labels, 0 twins with two labels, 1 outliers (2 train, 0 val, 0 test), the "
        "first a,1.jpg: labelled a, looks like b; s.csv lists them all"
    )
    assert write_suspects(tmp_path / "s.csv", [], tmp_path / "manifest.csv", ["a", "b"]) == []
    assert (tmp_path / "s.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert summary([], "s.csv") == "no image needs a second look"
