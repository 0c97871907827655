"""A run of the pipeline that is logged, through the real dvc command."""

import pytest


@pytest.mark.slow
def test_a_logged_run_writes_the_same_bytes_and_all_its_stages_log_to_one_place(
    repository, monkeypatch
):
    before = repository.hashes()
    monkeypatch.setenv("TRANSFER_TRACKERS", "tensorboard")
    repository.dvc("repro", "--force")
    assert repository.hashes() == before
    assert repository.run("git", "status", "--porcelain").stdout == ""  # dvc.lock is the same
    (run,) = (repository.folder / "logs").iterdir()
    assert {path.name for path in run.iterdir() if path.is_dir()} == {"train", "validation"}
    of_phases = list((run / "train").iterdir())
    assert len(of_phases) == 2  # the head is trained by Adam there, and has epochs

    monkeypatch.setenv("TRANSFER_TRACKERS", "tensorbord")
    refused = repository.dvc("repro", "--force", "--single-item", "train_head", check=False)
    assert "did you mean tensorboard?" in refused
