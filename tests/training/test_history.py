import pytest

from transfer.training.history import (
    HISTORY_COLUMNS,
    kept_epoch,
    read_history,
    restored,
    write_history,
)

ROWS = [(0, 0.5, 0.7, 0.6, 0.65), (1, 1.0, 0.1, 0.75, 0.5), (2, 1.0, 0.05, 0.75, 0.55)]


def test_rows_are_read_as_they_were_written(tmp_path):
    write_history(tmp_path / "history.csv", ROWS)
    assert (tmp_path / "history.csv").read_text().startswith(",".join(HISTORY_COLUMNS) + "\n0,0.5")
    assert read_history(tmp_path / "history.csv") == ROWS


def test_the_kept_epoch_is_the_last_one_or_with_patience_the_best():
    assert kept_epoch(ROWS, 0) == ROWS[2]
    assert kept_epoch(ROWS, 2) == ROWS[1]


def test_a_file_gets_its_content_back_also_after_an_error(tmp_path):
    path = tmp_path / "history.csv"
    path.write_bytes(b"of the run before\r\n")
    with pytest.raises(KeyboardInterrupt), restored(path):
        write_history(path, ROWS)
        raise KeyboardInterrupt
    assert path.read_bytes() == b"of the run before\r\n"


def test_a_file_that_was_not_there_is_removed(tmp_path):
    with restored(tmp_path / "history.csv"):
        write_history(tmp_path / "history.csv", ROWS)
    assert list(tmp_path.iterdir()) == []
