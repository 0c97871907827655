"""Where DVC runs experiments beside the workspace: those of the queue, and those by `--temp`."""

import json
from contextlib import suppress
from pathlib import Path

NOTES = (Path(".dvc/tmp/exps/run"), Path(".dvc/tmp/exps/standalone/run"))


def running_experiments() -> dict[str, Path]:
    """Return the folders of the experiments that DVC runs now, by their names or short hashes."""
    found = {}
    for note in (file for folder in NOTES for file in folder.glob("*/*.run")):
        with suppress(OSError, ValueError, KeyError):  # DVC is writing or removing it
            described = json.loads(note.read_text())
            folder = Path(described["root_dir"], described.get("wdir") or "")
            if folder.is_dir():
                found[described.get("name") or note.stem[:7]] = folder
    return found
