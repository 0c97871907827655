"""The whole pipeline on some of the tutorial's own images."""

import json
import re
import zipfile

import pytest

from tests.helpers.realdata import real_archive


@pytest.mark.realdata
def test_real_images_are_told_apart(make_repository, tmp_path, monkeypatch):
    monkeypatch.delenv("TRANSFER_FROZEN_RUNTIME")  # as a user runs it
    few = re.compile(r"train/.*\.\d?\d\.jpg|validation/.*\.2[01][0-4]\d\.jpg")
    with zipfile.ZipFile(real_archive()) as archive:
        archive.extractall(tmp_path, [name for name in archive.namelist() if few.search(name)])
    repository = make_repository()
    repository.set_params(data_url=str(tmp_path), fine_tune_epochs=2)
    output = repository.dvc("repro")
    assert "200 train, 160 val, 40 test images" in output
    scores = json.loads((repository.folder / "metrics/evaluate.json").read_text())
    assert scores["accuracy"] >= 0.9
