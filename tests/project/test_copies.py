"""Copies of the project that scripts/project.py makes."""

from scripts.project import copy_project, detach_from_git
from tests.helpers.project import PROJECT
from transfer.core.files import CORRECTIONS


def test_a_copy_has_the_corrections_and_an_earlier_copy_keeps_its_own(tmp_path):
    copy_project(tmp_path / "copy")
    copied = tmp_path / "copy" / CORRECTIONS
    assert copied.read_bytes() == (PROJECT / CORRECTIONS).read_bytes()
    detach_from_git(tmp_path / "copy")
    copied.write_text("decisions")
    (tmp_path / "copy/dvc.yaml").write_text("old code")
    copy_project(tmp_path / "copy")
    assert copied.read_text() == "decisions"
    assert (tmp_path / "copy/dvc.yaml").read_bytes() == (PROJECT / "dvc.yaml").read_bytes()
