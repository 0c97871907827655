import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from scripts.project import set_params
from stages.split import main
from tests.faults.corpus import bombs, pictures
from tests.helpers.project import PROJECT
from transfer.core.errors import UserError
from transfer.core.files import GROUPS_COLUMNS, list_files, read_csv, sha256, write_csv
from transfer.data.dataset import load_split
from transfer.data.labels import NO_CLASS, NOT_IMAGES, UNREADABLE, Rejected
from transfer.download.sample import draw_sample

GOOD = 30  # images of each class
CANNOT_IDENTIFY = "cannot identify it as BMP, GIF, JPEG, PNG, TIFF, WEBP"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    draw_sample(folder, GOOD)
    return folder


@pytest.fixture
def folder(tmp_path, drawn, monkeypatch):
    """Return a folder as the stage needs it, with readable images of cats and dogs."""
    shutil.copytree(drawn, tmp_path / "data" / "raw")
    set_limit(tmp_path, 0.5)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def set_limit(folder, value):
    text = (PROJECT / "params.yaml").read_text()
    assert "max_rejected: 0.1 " in text
    text = text.replace("max_rejected: 0.1 ", f"max_rejected: {value} ")
    (folder / "params.yaml").write_text(text.replace("image_size: auto ", "image_size: 32 "))


def add(name, data):
    path = Path("data/raw", name)
    path.write_bytes(data)
    return name


def stored_images():
    """Return all pixels, in the order of the manifest."""
    images = load_split(Path("data/split"), "train").images
    return images[np.arange(len(images))]


def rejected():
    return {row["path"]: row["reason"] for row in read_csv(Path("data/split/rejected.csv"))}


def add_bad_images():
    """Add an image of every kind that is rejected; return the reasons by path."""
    jpeg, png = pictures()["baseline.jpg"], pictures()["animated.png"]
    expected = {
        add("cats/empty.jpg", b""): CANNOT_IDENTIFY,
        add("cats/text.jpg", b"not an image\n"): CANNOT_IDENTIFY,
        add(
            "dogs/cut\n.jpg", jpeg[:-9]
        ): "OSError: image file is truncated (30 bytes not processed)",
        add('dogs/it\'s "cut".png', png[:200]): "OSError: image file is truncated",
        add("dogs/nan.tif", pictures()["float.tif"]): (
            "ValueError: its samples are floating-point numbers of 32 bits, whose range is "
            "unknown; save the image with 8 bits, or 16 unsigned"
        ),
        add("dogs/bomb.png", bombs()["square.png"]): (
            "DecompressionBombError: Image size (400000000 pixels) exceeds limit of 100000000 "
            "pixels, could be decompression bomb DOS attack."
        ),
        "cats/dangling.jpg": "FileNotFoundError: No such file or directory",
    }
    Path("data/raw/cats/dangling.jpg").symlink_to("nowhere")
    if os.getuid():  # root may read every file
        Path("data/raw", add("cats/secret.jpg", jpeg)).chmod(0)
        expected["cats/secret.jpg"] = "PermissionError: Permission denied"
    both = r"the same image is labelled cats (cats/a b.png) and dogs (dogs/\x1b[1m.jpg)"
    expected |= {
        add("cats/a b.png", pictures()["rgb.png"]): both,
        add("dogs/\x1b[1m.jpg", pictures()["rgb.png"]): both,
        add("cats/copy.jpg", Path("data/raw/cats/cat.0000.jpg").read_bytes()): (
            "the same image as cats/cat.0000.jpg"
        ),
    }
    return expected


def test_bad_images_are_listed_and_all_others_split(folder):
    expected = add_bad_images() | {"cats/two.tif": "the same image as cats/link.tif"}
    Path("data/raw/cats/link.tif").symlink_to("two.tif")
    add("cats/two.tif", pictures()["two.tif"])
    add("dogs/猫.webp", pictures()["animated.webp"])
    add(f"dogs/{196 * 'a'}.jpg", pictures()["exif.jpg"])
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01"  # cut off: Pillow warns, and the pixels are good
    Image.new("RGB", (9, 9)).save("data/raw/cats/exif.png", exif=exif)
    done = subprocess.run(
        [sys.executable, "-m", "stages.split"],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert rejected() == expected

    manifest = read_csv(Path("data/split/manifest.csv"))
    assert {row["path"] for row in manifest} == set(list_files(Path("data/raw"))) - set(expected)
    images = stored_images()
    assert len(images) == len(manifest) == 2 * GOOD + 4
    (row,) = (i for i, row in enumerate(manifest) if row["path"] == "dogs/猫.webp")
    assert manifest[row]["sha256"] == sha256(Path("data/raw/dogs/猫.webp"))
    assert (manifest[row]["width"], manifest[row]["height"]) == ("48", "32")
    with Image.open("data/raw/dogs/猫.webp") as image:
        square = ImageOps.fit(image.convert("RGB"), (32, 32), Image.Resampling.LANCZOS)
    assert (images[row] == np.asarray(square)).all()

    unreadable = len(expected) - 4
    assert done.stdout.splitlines()[1:] == [
        f"split: rejected {unreadable} unreadable, the first cats/dangling.jpg: "
        "FileNotFoundError: No such file or directory",
        "split: rejected 2 with two labels, the first cats/a b.png: " + expected["cats/a b.png"],
        "split: rejected 2 second copies, the first cats/copy.jpg: the same image as "
        "cats/cat.0000.jpg",
        "split: data/split/rejected.csv lists them all",
        # One drawing in two encodings, under two labels.
        "split: pairs that look the same, in two splits: 1, the first cats/link.tif and "
        "dogs/猫.webp; data/split/near_duplicates.csv lists them all",
    ]
    assert not Path("data/rejected.csv").exists()


def test_too_many_rejected_leave_what_was_there_and_a_list(folder):
    main()
    before = {name: sha256(Path("data/split", name)) for name in list_files(Path("data/split"))}
    for number in range(7):
        add(f"cats/broken{number}.jpg", b"broken %d" % number)
    set_limit(folder, 0.1)
    with pytest.raises(UserError) as error:
        main()
    assert str(error.value) == (
        f"7 of the 67 images can't be used, and max_rejected is 0.1: 7 unreadable, the first "
        f"cats/broken0.jpg: {CANNOT_IDENTIFY}; data/rejected.csv lists them all: fix or remove "
        "them, or raise max_rejected"
    )
    listed = read_csv(Path("data/rejected.csv"))
    assert listed == [
        {"path": f"cats/broken{number}.jpg", "reason": CANNOT_IDENTIFY, "kind": UNREADABLE}
        for number in range(7)
    ]
    after = {name: sha256(Path("data/split", name)) for name in list_files(Path("data/split"))}
    assert after == before
    assert sorted(os.listdir("data")) == ["raw", "rejected.csv", "split"]

    set_limit(folder, 0.11)
    main()
    assert len(rejected()) == 7
    assert sorted(os.listdir("data")) == ["raw", "split"]


def test_corrections_are_applied_and_excluded_images_do_not_count(folder, capsys):
    set_limit(folder, 0)
    main()
    assert read_csv(Path("data/split/corrected.csv")) == []
    before = read_csv(Path("data/split/manifest.csv"))
    splits = {row["path"]: row["split"] for row in before}
    by_path = {row["path"]: row["sha256"] for row in before}
    cat, dog, confirmed = "cats/cat.0003.jpg", "dogs/dog.0004.jpg", "dogs/dog.0005.jpg"
    broken = sha256(Path("data/raw", add("cats/broken.jpg", b"no picture")))
    Path("corrections.csv").write_text(
        "sha256,path,old,new,who,why\n"
        f"{by_path[cat]},{cat},cats,dogs,Eva,\n"
        f"{by_path[dog]},{dog},dogs,exclude,Eva,two animals\n"
        f"{by_path[confirmed]},{confirmed},dogs,dogs,Eva,\n"
        f"{broken},cats/broken.jpg,cats,exclude,,\n"
    )
    capsys.readouterr()
    main()
    assert capsys.readouterr().out.splitlines()[1:] == [
        "split: rejected 2 excluded, the first cats/broken.jpg: excluded by corrections.csv",
        "split: data/split/rejected.csv lists them all",
        "split: corrections.csv, rows: 4, labels changed: 1, images left out: 1",
    ]
    reason = "excluded by corrections.csv"
    assert rejected() == {"cats/broken.jpg": reason, dog: f"{reason}: two animals"}
    assert read_csv(Path("data/split/corrected.csv")) == [
        {"path": cat, "split": splits[cat], "given_label": "cats", "label": "dogs"},
        {"path": dog, "split": splits[dog], "given_label": "dogs", "label": "exclude"},
    ]
    expected = [row for row in before if row["path"] != dog]
    for row in expected:
        row["label"] = "dogs" if row["path"] == cat else row["label"]
    assert read_csv(Path("data/split/manifest.csv")) == expected
    assert len(stored_images()) == len(expected)


def test_what_the_download_left_out_is_listed_and_does_not_count(folder, capsys):
    set_limit(folder, 0)
    rows = [("notes.txt", "not BMP", NOT_IMAGES), ("test/1.jpg", "no folder", NO_CLASS)]
    write_csv(Path("data/left_out.csv"), Rejected._fields, rows)
    main()
    assert rejected() == {"notes.txt": "not BMP", "test/1.jpg": "no folder"}
    assert len(capsys.readouterr().out.splitlines()) == 1  # the stage download has told of them


def test_images_that_look_the_same_in_two_splits_are_reported(folder, capsys):
    raw = Path("data/raw")
    for label in ("cats", "dogs"):
        files = sorted((raw / label).iterdir())
        for top, some in (("train", files[:20]), ("val", files[20:25]), ("test", files[25:])):
            (raw / top / label).mkdir(parents=True)
            for file in some:
                file.rename(raw / top / label / file.name)
        (raw / label).rmdir()
    for source, copy in (
        ("train/cats/cat.0003.jpg", "test/cats/again.jpg"),
        ("train/dogs/dog.0004.jpg", "train/dogs/again.jpg"),  # in one split, which is no problem
    ):
        with Image.open(raw / source) as image:
            image.save(raw / copy, quality=60)
    main()
    assert capsys.readouterr().out.splitlines() == [
        "split: 41 train, 10 val, 11 test images",
        "split: pairs that look the same, in two splits: 1, the first test/cats/again.jpg and "
        "train/cats/cat.0003.jpg; data/split/near_duplicates.csv lists them all",
    ]
    (row,) = read_csv(Path("data/split/near_duplicates.csv"))
    assert row.pop("distance") in ("0", "2", "4")
    assert row == {
        "path": "test/cats/again.jpg",
        "split": "test",
        "other_path": "train/cats/cat.0003.jpg",
        "other_split": "train",
    }


def test_groups_of_a_table_and_of_a_pattern_stay_whole(folder):
    main()
    paths = [row["path"] for row in read_csv(Path("data/split/manifest.csv"))]
    write_csv(Path("data/groups.csv"), GROUPS_COLUMNS, [(paths[0], "pair"), (paths[-1], "pair")])
    set_params(folder, group_pattern=r"(\d)\.jpg$")
    main()
    rows = read_csv(Path("data/split/manifest.csv"))
    splits = {}
    for row in rows:
        splits.setdefault(row["group"], set()).add(row["split"])
    assert rows[0]["group"] == rows[-1]["group"] == "pair"
    assert {len(found) for group, found in splits.items() if group} == {1}
    assert len(splits) > 5
