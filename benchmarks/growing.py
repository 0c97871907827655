"""Add images to a large set; measure what `split` decodes and what `dvc push` sends.

python -m benchmarks.growing [--images 20000] [--added 100] [--workdir FOLDER]

The images are drawn here. WORKDIR needs some 200 kB for each of them.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import report
from benchmarks.common import save_results
from benchmarks.scaling import DRAWN_AT_A_TIME, draw
from scripts.project import detach_from_git, temporary_copy
from transfer.core.files import SPLIT, read_csv
from transfer.core.parallel import map_in_threads
from transfer.data.dataset import MANIFEST

KNOWN = re.compile(r"([\d,]+) had been decoded before")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--added", type=int, default=100)
    parser.add_argument("--workdir", type=Path, default=Path(tempfile.gettempdir()))
    arguments = parser.parse_args()
    settings = {"image_size": 160, "base_weights": "random", "stable_splits": True}
    with (
        tempfile.TemporaryDirectory(dir=arguments.workdir) as images,
        temporary_copy(arguments.workdir, own_images=images, **settings) as folder,
    ):
        detach_from_git(folder)
        run(folder, "dvc", "remote", "add", "--default", "here", folder / "remote")
        runs, splits, drawn = {}, {}, 0
        for name, count in (("all", arguments.images), ("added", arguments.added)):
            add(Path(images), range(drawn, drawn + count))
            drawn += count
            runs[name] = measure(folder)
            before, splits = splits, split_of(folder)
        runs["moved"] = sum(splits[path] != split for path, split in before.items())
    report.write(save_results({"growing": runs}))


def add(folder: Path, numbers: range) -> None:
    """Draw images of two classes."""
    for number, jpeg in zip(numbers, map_in_threads(draw, numbers, DRAWN_AT_A_TIME), strict=True):
        path = folder / ("discs", "boxes")[number % 2] / f"{number:07}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(jpeg)


def measure(folder: Path) -> dict:
    """Run `download` and `split` through DVC, and push; return seconds, counts and bytes."""
    seconds = {}
    for stage in ("download", "split"):
        started = time.monotonic()
        printed = run(folder, "dvc", "repro", stage)
        seconds[stage] = round(time.monotonic() - started, 1)
    before, started = size(folder / "remote"), time.monotonic()
    run(folder, "dvc", "push", "--quiet", "data/raw", "data/split")
    seconds["push"] = round(time.monotonic() - started, 1)
    known = KNOWN.search(printed)
    images = len(split_of(folder))
    return {
        "images": images,
        "decoded": images - (int(known[1].replace(",", "")) if known else 0),
        "seconds": seconds,
        "sent": size(folder / "remote") - before,
        "bytes": sum(size(folder / "data" / part) for part in ("raw", "split")),
    }


def run(folder: Path, *command: object) -> str:
    """Run a command in a folder; return what it prints."""
    command = [str(part) for part in command]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} failed: {done.stderr}")
    return done.stdout


def size(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(
        os.path.getsize(os.path.join(parent, name))
        for parent, _, names in os.walk(folder)
        for name in names
    )


def split_of(folder: Path) -> dict[str, str]:
    """Return the split of each image by its path."""
    return {row["path"]: row["split"] for row in read_csv(folder / SPLIT / MANIFEST)}


if __name__ == "__main__":
    main()
