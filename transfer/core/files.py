"""Paths of the pipeline, and writing files so that none is ever half-written."""

import csv
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from transfer.core.errors import UserError

NO_IMAGES = "data/none"  # a file that is always there: DVC refuses a dependency that is missing
CORRECTIONS = Path("corrections.csv")  # in git, by people
RAW = Path("data/raw")
LEFT_OUT = Path("data/left_out.csv")  # what the source of the images has beside them
GROUPS = Path("data/groups.csv")
GROUPS_COLUMNS = ("path", "group")
SPLIT = Path("data/split")
SUSPECTS = Path("data/suspects.csv")
PROBABILITIES = Path("data/probabilities.npy")
BASE_WEIGHTS = Path("models/base.weights.h5")
HEAD_MODEL = Path("models/head.keras")
MODEL = Path("models/model.keras")
MODEL_CARD = Path("models/model_card.md")
METRICS = Path("metrics")
HISTORY_HEAD = METRICS / "history_head.csv"
HISTORY = METRICS / "history.csv"  # of both phases
STATUS = Path(".training.json")  # only while a training runs
PREDICTIONS = METRICS / "predictions.csv"
PLOTS = Path("plots")
KEPT_SECONDS = 30 * 24 * 3600  # of what nobody has used since, in the user's cache
OUTPUTS = (RAW, SPLIT, PROBABILITIES, BASE_WEIGHTS, HEAD_MODEL, MODEL, MODEL_CARD, METRICS, PLOTS)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds.

    The temporary name keeps the suffix, from which Keras and Matplotlib derive the format.

    Args:
        path: A file or a folder; its parent folder is made if it is missing.

    Raises:
        OSError: From the system, with `path` as its file name if it had none, as after a write.
    """
    temporary = path.with_name(f".partial-{path.name}")
    old = path.with_name(f".partial-{path.name}.old")
    path.parent.mkdir(parents=True, exist_ok=True)
    remove(temporary)
    remove(old)
    try:
        yield temporary
        if path.is_dir():  # os.replace can't replace a folder that has files
            path.rename(old)
        os.replace(temporary, path)
        remove(old)
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        remove(temporary)


def cache_folder() -> Path:
    """Return the project's folder in the user's cache, which may not exist yet."""
    return platformdirs.user_cache_path("transfer-learning")


def remove_unused(folder: Path) -> None:
    """Remove the files of a folder of the user's cache that nobody has used for a month."""
    with suppress(OSError):  # it may be missing or read-only
        for path in folder.iterdir():
            if time.time() - path.stat().st_mtime > KEPT_SECONDS:
                path.unlink(missing_ok=True)


def refuse_output(path: Path, name: str) -> None:
    """Refuse a source that the pipeline itself writes, or that holds such a file.

    Args:
        path: Of the source.
        name: The parameter that names it.

    Raises:
        UserError: It is one.
    """
    source = path.resolve()
    for output in OUTPUTS:
        written = output.resolve()
        if source == written or source in written.parents or written in source.parents:
            raise UserError(
                f"{name}: expected a path outside of what the pipeline writes; received {path}, "
                f"and {output} is written by it; nothing was removed: move what is yours to "
                "another folder first"
            )


def remove(path: Path) -> None:
    """Remove a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def check_exists(path: Path) -> None:
    """Refuse to go on without an output of the pipeline.

    Raises:
        UserError: There is none.
    """
    if not path.exists():
        raise UserError(f"there is no {path}; `dvc repro` makes it, `dvc pull {path}` fetches it")


def list_files(folder: Path) -> list[str]:
    """Return the relative paths of all files below `folder`, sorted by their bytes."""
    names = [
        os.path.relpath(os.path.join(parent, file), folder)
        for parent, _, files in os.walk(folder)
        for file in files
    ]
    return sorted(names, key=os.fsencode)


def files_of(dependency: Path) -> list[Path]:
    """Return a file, or the files below a folder without Python's caches, which come and go."""
    if not dependency.is_dir():
        return [dependency]
    names = map(Path, list_files(dependency))
    return [dependency / name for name in names if "__pycache__" not in name.parts]


def is_plain(text: str) -> bool:
    """Return whether a name or an address fits into one line of a UTF-8 file."""
    return re.search("[\x00-\x1f\x7f\ud800-\udfff]", text) is None


def describe_content(path: Path) -> str:
    """Describe a file whose content is not what it should be."""
    with path.open("rb") as file:
        start = file.read(32)
    if start.lstrip().startswith(b"<"):
        return "a web page, such as one to log in on"
    return f"a file that begins with {start!r}" if start else "an empty file"


def sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of(parts: object) -> str:
    """Return a hex SHA-256 of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def write_json(path: Path, values: dict) -> None:
    """Write values as JSON.

    Args:
        path: Of the file, which is replaced whole or not at all.
        values: Floats are rounded to 5 decimals, which makes diffs readable.
    """
    rounded = {key: round(v, 5) if isinstance(v, float) else v for key, v in values.items()}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(rounded, indent=2) + "\n")


def read_json(path: Path) -> dict:
    """Read what `write_json` wrote."""
    return json.loads(path.read_text())


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a CSV file in UTF-8.

    Args:
        path: Of the file, which is replaced whole or not at all.
        header: Names of the columns.
        rows: As many values each.
    """
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a table that `write_csv` wrote, each row as a dictionary."""
    return list(iter_csv(path))


def iter_csv(path: Path) -> Iterator[dict[str, str]]:
    """Yield a table that `write_csv` wrote, one row at a time: there may be millions."""
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)
