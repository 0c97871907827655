import pytest

from tests.helpers.archives import JPEG, read, refuse, write_folder
from transfer.core.errors import UserError
from transfer.data.labels import label_images
from transfer.download.acquire import acquire_images, check_data_url
from transfer.download.tables import read_table

FILES = {"images/1.jpg": b"one", "images/2.JPG": b"two", "more/1.jpg": b"three"}
ROWS = "path,label\nimages/1.jpg,cats\nimages/2.JPG,dogs\nmore/1.jpg,dogs\n"


@pytest.fixture
def table(tmp_path):
    """Return a function that writes a table beside the images."""
    write_folder(tmp_path / "set", FILES)

    def write(text):
        path = tmp_path / "set" / "labels.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_labels_are_folders_and_images_without_a_row_are_left_out(table, target, tmp_path):
    write_folder(tmp_path / "set", {"images/3.jpg": b"four"})
    path = table(ROWS)
    check_data_url(str(path))
    acquire_images(str(path), None, target)
    assert read(target) == {
        "cats/images/1.jpg": b"one",
        "dogs/images/2.JPG": b"two",
        "dogs/more/1.jpg": b"three",
    }


def test_paths_may_be_absolute_or_outside_the_folder_and_other_columns_are_ignored(
    table, target, tmp_path
):
    write_folder(tmp_path, {"elsewhere/1.png": b"four"})
    path = table(
        "\ufefflabel, width, path\r\n"
        f'"a, b",1,{tmp_path}/set/images/1.jpg\r\n'
        "c,2,../elsewhere/1.png\r\n"
    )
    acquire_images(str(path), None, target)
    assert read(target) == {"a, b/set/images/1.jpg": b"one", "c/elsewhere/1.png": b"four"}


def test_splits_are_kept(table):
    path = table(
        "path,label,split\nimages/1.jpg,a,train\nimages/2.JPG,b,Train\nmore/1.jpg,a,valid\n"
    )
    assert [row.name for row in read_table(path)] == [
        "train/a/images/1.jpg",
        "train/b/images/2.JPG",
        "val/a/more/1.jpg",
    ]


def test_paths_as_windows_writes_them_and_images_of_any_name(table, target, tmp_path):
    write_folder(tmp_path / "set", {"images/x.jfif": JPEG, "images/y": JPEG})
    path = table("path,label\nimages\\1.jpg,a\nimages\\x.jfif,b\nimages/y,b\n")
    acquire_images(str(path), None, target)
    assert read(target) == {"a/1.jpg": b"one", "b/x.jfif": JPEG, "b/y": JPEG}


def test_labels_are_one_class_whatever_their_form_and_spaces(table):
    path = table("path,label\nimages/1.jpg,pâté\nimages/2.JPG,pa\u0302te\u0301 \nmore/1.jpg,b\n")
    assert [row.name for row in read_table(path)] == [
        "pâté/images/1.jpg",
        "pâté/images/2.JPG",
        "b/more/1.jpg",
    ]


def test_a_label_may_be_the_name_of_a_split(table, target):
    path = table("path,label\nimages/1.jpg,train\nimages/2.JPG,bus\nmore/1.jpg,bus\n")
    acquire_images(str(path), None, target)
    table = label_images(list(read(target)))
    assert table.class_names == ["bus", "train"]
    assert set(table.given_splits.tolist()) == {-1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\nimages/1.jpg,Cat\nimages/2.JPG,cat\n", "classes 'Cat' and 'cat' differ only"),
        ("file,label\n", r"labels.csv: expected a header .* received \['file', 'label'\]"),
        ("path;label\n", r"received \['path;label'\]"),
        ("", r"received \[\]"),
        ("path,label\n", "has only a header"),
        (b"path,label\n\xff.jpg,a\n", "expected a CSV file in UTF-8"),
        ('path,label\n"a"b,c\n', "expected a CSV file in UTF-8"),
        (ROWS + "images/9.jpg,cats\n", "line 5: expected the path of an image .*'images/9.jpg'"),
        (ROWS + "labels.csv,cats\n", "line 5: expected the path of an image"),
        (ROWS + "images/../images/1.jpg,dogs\n", "line 5 lists 'images/../images/1.jpg' again"),
        (ROWS + "images/3.jpg\n", "line 5: expected a label .* received ''"),
        (ROWS + "images/3.jpg,a/b\n", "line 5: expected a label .* received 'a/b'"),
        (ROWS + "images/3.jpg,..\n", "line 5: expected a label"),
        ("path,label\nimages/1.jpg,Test\nimages/3.jpg,train\n", "labels Test, train are names of"),
        (
            ROWS + "images/.4.jpg,a\n",
            "lists '.*/images/.4.jpg', which is hidden or in a hidden folder",
        ),
        (
            "path,label,split\nimages/1.jpg,a,holdout\n",
            "line 2: expected the split train, validation or test; received 'holdout'",
        ),
    ],
)
def test_a_wrong_table_is_an_error_before_any_work(text, message, table, target, tmp_path):
    write_folder(tmp_path / "set", {"images/3.jpg": b"four", "images/.4.jpg": b"five"})
    path = table(text)
    with pytest.raises(UserError, match=message):
        check_data_url(str(path))
    refuse(path, message, target)


@pytest.mark.parametrize("query", ["", "?version=2"])
def test_the_url_of_a_table_is_refused(query):
    with pytest.raises(UserError, match="expected a table's path on this machine"):
        check_data_url(f"https://example.org/labels.csv{query}")


def test_a_column_group_names_groups_of_images(table, target):
    path = table(
        "path,label,group\nimages/1.jpg,cats,Minka\nimages/2.JPG,dogs, \nmore/1.jpg,dogs,Rex\n"
    )
    _, groups = acquire_images(str(path), None, target)
    assert groups == {"cats/images/1.jpg": "Minka", "dogs/more/1.jpg": "Rex"}
    with pytest.raises(UserError, match="line 3: expected a group's name in one line"):
        read_table(table('path,label,group\nimages/1.jpg,cats,"a\nb"\n'))


def test_a_folder_may_hold_its_table_and_what_is_not_in_it_is_named(table, target, tmp_path):
    write_folder(tmp_path / "set", {"images/3.jpg": b"four", "notes.txt": b"five"})
    source = table(ROWS).parent
    check_data_url(str(source))
    left_out, _ = acquire_images(str(source), None, target)
    assert sorted(read(target)) == ["cats/images/1.jpg", "dogs/images/2.JPG", "dogs/more/1.jpg"]
    assert {row.path: row.reason for row in left_out.rejected}.keys() == {
        "images/3.jpg",
        "notes.txt",
    }
    assert "not in labels.csv" in [row.reason for row in left_out.rejected]


def test_a_labels_csv_of_another_kind_is_no_table(table, target):
    source = table("image;class\n1;2\n").parent
    write_folder(source, {"images/1.jpg": b"one", "more/1.jpg": b"three"})
    acquire_images(str(source), None, target)
    assert sorted(read(target)) == ["images/1.jpg", "images/2.JPG", "more/1.jpg"]
