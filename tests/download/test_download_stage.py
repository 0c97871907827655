import shutil

import pytest

from scripts.project import set_params
from stages import download
from tests.helpers.archives import write_folder
from tests.helpers.project import PROJECT
from transfer.core.errors import UserError


def test_errors_about_the_classes_name_the_parameter_that_was_set(tmp_path, monkeypatch):
    names = ("train/cats/1.jpg", "train/dogs/1.jpg", "test/cats/2.jpg")
    write_folder(tmp_path / "own", {name: name.encode() for name in names})
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    set_params(tmp_path, own_images="own")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(download, "fetch_weights", lambda *_: None)
    with pytest.raises(UserError, match="^own_images: the test folder has no images of dogs$"):
        download.main()
