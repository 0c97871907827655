import unicodedata

import pytest

from transfer.core.errors import UserError
from transfer.data.labels import check_class_names, class_named, label_images, visible


@pytest.mark.parametrize(
    "name", ["pâté ", "\xa0pâté", unicodedata.normalize("NFD", "pâté"), "pâté"]
)
def test_forms_and_outer_spaces_make_no_class(name):
    assert class_named(name) == "pâté"
    table = label_images([f"{name}/1.jpg", "pâté/2.jpg", "dog/3.jpg"])
    assert table.class_names == ["dog", "pâté"]
    assert table.labels.tolist() == [1, 1, 0]
    assert table.paths[0] == f"{name}/1.jpg"


def test_classes_of_two_splits_may_be_written_in_two_forms():
    paths = [
        f"{split}/{unicodedata.normalize(form, name)}/1.jpg"
        for split, form in (("train", "NFC"), ("val", "NFD"))
        for name in ("crème", "pâté")
    ]
    table = label_images(paths)
    assert table.class_names == ["crème", "pâté"]
    assert table.labels.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("Cat", "cat", "'Cat' and 'cat'"),
        ("STRASSE ", "Strasse", "'STRASSE' and 'Strasse'"),
        ("É", "é", "'É' and 'é'"),
        ("cat", "c\u200bat", r"'c\\u200bat' and 'cat'|'cat' and 'c\\u200bat'"),
        ("cat", "cat\ufe0f", r"'cat' and 'cat\\ufe0f'"),
        ("\ufeffcat", "cat", r"'cat' and '\\ufeffcat'"),
        ("a cat", "a  cat", "'a  cat' and 'a cat'"),
        ("a cat", "a\xa0cat", r"'a cat' and 'a\\xa0cat'"),
    ],
)
@pytest.mark.parametrize("top", ["", "train/"])
def test_names_that_look_the_same_are_refused(one, other, shown, top):
    with pytest.raises(UserError, match=f"the classes ({shown}) differ only in case, in spaces or"):
        label_images([f"{top}{one}/1.jpg", f"{top}{other}/2.jpg", f"{top}dog/3.jpg"])


def test_other_names_are_two_classes():
    check_class_names(["Maße", "Masse", "cat", "cats", "1", "01", "-", "_", "ı", "i"])


@pytest.mark.parametrize("name", ["", "\u200b"])
def test_a_blank_name_is_refused(name):
    with pytest.raises(UserError, match="the name of a class is blank"):
        check_class_names([name, "cat"])


def test_what_cannot_be_seen_is_shown():
    assert visible("a\u200b \xa0\n猫") == r"'a\u200b \xa0\n猫'"
