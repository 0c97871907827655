"""Keep what a person has put into a folder that the pipeline is about to replace."""

import hashlib
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transfer.core.files import list_files, replacing


@contextmanager
def kept_if_changed(folder: Path) -> Iterator[None]:
    """Let the block replace a folder; keep the old one if others have changed it.

    It is then renamed, or stays where it is if the block fails. A hash of its listing beside the
    folder, which DVC brings along with it, tells a change.

    Args:
        folder: The folder, which may be missing.
    """
    listing = folder.with_name(f"{folder.name}.sha256")
    is_known = listing.exists() and listing.read_text().strip() == listing_sha256(folder)
    if is_known or not folder.exists():
        yield
    else:
        names = (f"{folder.name}.kept-{number}" for number in itertools.count(1))
        kept = next(path for path in map(folder.with_name, names) if not path.exists())
        folder.rename(kept)
        try:
            yield
        except BaseException:
            kept.rename(folder)
            raise
        print(f"download: {folder} had been changed; what it held is kept in {kept}")
    with replacing(listing) as temporary:
        temporary.write_text(f"{listing_sha256(folder)}\n")


def listing_sha256(folder: Path) -> str:
    """Return the SHA-256 over the names and the sizes of all files below a folder."""
    lines = (f"{(folder / name).lstat().st_size} {name}\n" for name in list_files(folder))
    return hashlib.sha256(os.fsencode("".join(lines))).hexdigest()
