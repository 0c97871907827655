"""The tutorial's own images, for the tests with the marker `realdata`."""

import os
from pathlib import Path

ARCHIVE = "cats_and_dogs_filtered.zip"


def real_archive() -> Path | None:
    """Return the tutorial's archive in the folder that TRANSFER_MIRROR names, or None."""
    mirror = os.environ.get("TRANSFER_MIRROR", "")
    return Path(mirror, ARCHIVE) if mirror and Path(mirror, ARCHIVE).is_file() else None
