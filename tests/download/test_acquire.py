import shutil
import subprocess

import pytest

from tests.helpers.archives import FILES, STRAY, WRITERS, read, refuse, write_folder, write_zip
from transfer.core.errors import UserError
from transfer.download.acquire import acquire_images, check_data_url, content_sha256, errors_about

pytestmark = pytest.mark.usefixtures("home")


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("top", ["", "top/", "a/b/"])
def test_folders_and_archives_give_the_same_images(tmp_path, target, name, top):
    files = {top + path: content for path, content in (FILES | STRAY).items()}
    source = WRITERS[name](tmp_path / name, files)
    write_folder(target, {"old.jpg": b""})
    write_folder(target.with_name(".partial-raw.top"), {"left by a killed run": b""})
    left_out, _ = acquire_images(str(source), None, target)
    assert read(target) == FILES
    assert list(target.parent.iterdir()) == [target]
    assert {row.path for row in left_out.rejected} == {top + "README.md", top + "vectorize.py"}
    hidden = {"cats/.1.jpg", ".git", "__MACOSX", "cats/Thumbs.db"}
    assert left_out.hidden == {top + path for path in hidden}


def test_splits_and_nested_folders_are_kept(tmp_path, target):
    files = {f"{split}/{path}": b"" for split in ("train", "validation") for path in FILES}
    files |= {"train/cats/indoors/3.jpg": b""}
    source = write_zip(tmp_path / "a.zip", files)
    acquire_images(str(source), None, target)
    assert set(read(target)) == set(files)


def test_a_tar_of_the_current_folder_gives_the_same_images(tmp_path, target):
    write_folder(tmp_path / "in", FILES)
    subprocess.run(["tar", "-C", tmp_path / "in", "-cf", tmp_path / "a.tar", "."], check=True)
    acquire_images(str(tmp_path / "a.tar"), None, target)
    assert read(target) == FILES


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "one folder per class, such as .* received 0 images and 0 such folders"),
        ({"readme.txt": b""}, "received 0 images and 0 such folders"),
        ({"1.jpg": b"", "2.jpg": b""}, "received 2 images and 0 such folders"),
        ({"cats/1.jpg": b"", "cats/2.jpg": b""}, "received 2 images and 0 such folders"),
        ({"cats/1.jpg": b"", "dogs/notes.txt": b""}, "the folder dogs has no images"),
    ],
)
def test_a_folder_without_classes_is_refused(tmp_path, target, files, message):
    (tmp_path / "source").mkdir()
    refuse(write_folder(tmp_path / "source", files), message, target)


def test_an_empty_class_folder_of_an_archive_is_refused(tmp_path, target):
    refuse(write_zip(tmp_path / "a.zip", FILES | {"birds/": b""}), "folder birds has no", target)


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="no sha256sum")
def test_the_content_hash_is_what_the_shell_prints(tmp_path):
    write_folder(tmp_path / "in", FILES | {"Birds/é.jpg": b"4", "cats-old/1.jpg": b"5"})
    command = "find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    printed = subprocess.run(
        command, shell=True, cwd=tmp_path / "in", check=True, capture_output=True, text=True
    ).stdout
    assert content_sha256(tmp_path / "in") == printed.split()[0]


def test_images_with_another_content_hash_are_refused(tmp_path, target):
    source = write_zip(tmp_path / "a.zip", {f"top/{name}": FILES[name] for name in FILES})
    right = content_sha256(write_folder(tmp_path / "in", FILES))
    message = rf"a\.zip has other images .* \(3 files\): expected .* 0{{64}}, received {right}; "
    refuse(source, message, target, data_sha256="0" * 64)
    acquire_images(str(source), right, target)
    assert read(target) == FILES


@pytest.mark.parametrize("value", ["sample", "https://host/a.zip", "https://host/a.zip?for=a.csv"])
def test_data_urls_without_a_local_file_pass(value):
    check_data_url(value)


def test_a_path_that_does_not_exist_is_refused_before_any_work(tmp_path):
    check_data_url(str(tmp_path))
    for nothing in (tmp_path / "nowhere", "~nobody-of-that-name/a.zip", "/dev/zero"):
        with pytest.raises(
            UserError, match=f"^data_url: expected `sample`, .*'{nothing}', which does not"
        ):
            check_data_url(str(nothing))


def test_errors_name_the_parameter_that_was_set(tmp_path):
    with (
        pytest.raises(UserError, match="^own_images: expected .*nowhere"),
        errors_about("own_images"),
    ):
        check_data_url(str(tmp_path / "nowhere"))
