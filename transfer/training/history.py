"""The history of a training: a row for each epoch, which people watch while it grows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from transfer.core.files import read_csv, replacing, write_csv

HISTORY_COLUMNS = ("epoch", "accuracy", "loss", "val_accuracy", "val_loss")


def read_history(path: Path) -> list[tuple]:
    """Return the rows that `write_history` wrote."""
    rows = (row.values() for row in read_csv(path))
    return [(int(epoch), *map(float, scores)) for epoch, *scores in rows]


def write_history(path: Path, rows: Sequence[tuple]) -> None:
    """Write rows of HISTORY_COLUMNS to a file, which is replaced whole or not at all."""
    write_csv(path, HISTORY_COLUMNS, rows)


def kept_epoch(history: list[tuple], patience: int) -> tuple:
    """Return the row of the epoch whose weights are kept.

    Args:
        history: Rows of HISTORY_COLUMNS.
        patience: As for `transfer.training.loop.Loop`.
    """
    return min(history, key=lambda row: row[-1]) if patience else history[-1]


@contextmanager
def restored(path: Path) -> Iterator[None]:
    """Give a file the content that it had before the block, or remove it if there was none.

    The charts are drawn from one file, the history of both phases, which is an output of fine_tune.
    While train_head runs, it shows the epochs of the head. If DVC does not rerun fine_tune then,
    the file has to be as it was.
    """
    before = path.read_bytes() if path.exists() else None
    try:
        yield
    finally:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            with replacing(path) as temporary:
                temporary.write_bytes(before)
