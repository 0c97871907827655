"""Fill the disk under each stage; it must end with one line, and nothing old may change.

    python -m torture.disk [--short]

The project lies, with all its results, on a small disk in memory, on which more or less room is
left: user's cache and temporary files included. A stage that has enough repeats its results to the
byte, so in any case every file must be as it was.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from benchmarks.common import PROJECT, project_copy
from torture.table import record
from transfer.files import list_files, sha256
from transfer.sample import draw_sample

SETTINGS = {
    "base_weights": "random",
    "image_size": 32,
    "head_epochs": 1,
    "fine_tune_epochs": 1,
    "fine_tune_at": 120,
    "views": 1,
}
STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
PAGE = 4096
SAID = "no change, and one line or success"
FILLER = "filler"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="download and split, two sizes each")
    short = parser.parse_args().short
    if os.geteuid() and not os.environ.get("MAY_MOUNT"):
        os.environ["MAY_MOUNT"] = "1"
        os.execvp(
            "unshare", ["unshare", "-rm", sys.executable, "-m", "torture.disk", *sys.argv[1:]]
        )
    stages = list(STAGES)[:2] if short else list(STAGES)
    rows = []
    with small_disk() as disk, project_copy(data_url=str(disk / "pictures"), **SETTINGS) as copy:
        draw_sample(disk / "pictures", 20)
        folder = disk / "project"
        subprocess.run(["cp", "-r", copy, folder], check=True)
        for stage in stages:
            done = run(stage, folder)
            if done.returncode:
                sys.exit(f"error: {stage} failed with room enough: {done.stderr}")
            size = written(stage, folder)
            left = (0, size // 2) if short else (0, PAGE, size // 4, size // 2, size - size // 16)
            wrong = sum(comes_otherwise(stage, folder, room) for room in left)
            rows.append((f"{stage}: disk full", len(left), SAID, wrong))
            rows.append((f"{stage}: read-only", 1, SAID, comes_otherwise(stage, folder, None)))
    record("disk", rows)


@contextmanager
def small_disk() -> Iterator[Path]:
    """Mount a disk of 200 MB in memory; where that is not allowed, say so and exit."""
    with tempfile.TemporaryDirectory() as name:
        mount = ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", name]
        if subprocess.run(mount).returncode:
            print("skipped: a disk in memory can't be mounted here, nor with unshare -rm")
            sys.exit()
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", name], check=True)


def run(stage: str, folder: Path) -> subprocess.CompletedProcess:
    own = {"XDG_CACHE_HOME": str(folder / "cache"), "TMPDIR": str(folder / "tmp")}
    for path in own.values():
        Path(path).mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"],
        cwd=folder,
        env=os.environ | own,
        capture_output=True,
        text=True,
    )


def written(stage: str, folder: Path) -> int:
    """Return how many bytes a stage's outputs have."""
    declared = [*STAGES[stage].get("outs", []), *STAGES[stage].get("metrics", [])]
    tops = [next(iter(out)) if isinstance(out, dict) else out for out in declared]
    return sum(
        path.stat().st_size
        for top in tops
        for path in ([folder / top] if (folder / top).is_file() else (folder / top).rglob("*"))
        if path.is_file()
    )


def comes_otherwise(stage: str, folder: Path, room: int | None) -> bool:
    """Run a stage with so many bytes left, or none to write to at all; print what is wrong."""
    before = contents(folder)
    if room is None:
        remount(folder, "ro")
    else:
        fill(folder / FILLER, room)
    try:
        done = run(stage, folder)
    finally:
        remount(folder, "rw")
        (folder / FILLER).unlink(missing_ok=True)
    after, lines = contents(folder), done.stderr.splitlines()
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    told = len(lines) == 1 and lines[0].startswith("error: ") if done.returncode else not lines
    print(f"{stage}, {room} bytes left: {done.returncode} {' | '.join(lines[-3:])}", flush=True)
    if changed or not told:
        print(f"OTHERWISE: changed {sorted(changed)}; {done.stderr}", file=sys.stderr)
    return bool(changed) or not told


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file, but those of the user's cache and Python's."""
    return {
        name: sha256(folder / name)
        for name in list_files(folder)
        if not name.startswith(("cache/", "tmp/", ".stage.lock")) and "__pycache__" not in name
    }


def fill(filler: Path, room: int) -> None:
    """Write a file until only `room` bytes are left on its disk."""
    free = os.statvfs(filler.parent)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - room)


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder.parent)], check=True)


if __name__ == "__main__":
    main()
