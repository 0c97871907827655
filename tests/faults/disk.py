"""Fill the disk under each stage; it must end with one line, and nothing old may change.

    python -m tests.faults.disk [--short]

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
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import yaml

from scripts.project import PROJECT, temporary_copy
from tests.faults.table import record
from transfer.core.files import list_files, sha256
from transfer.download.sample import draw_sample

SETTINGS = {
    "base_weights": "random",
    "recipe": "tutorial",
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
    parser.add_argument("--short", action="store_true", help="the stage split alone, two sizes")
    short = parser.parse_args().short
    if os.geteuid() and not os.environ.get("MAY_MOUNT"):
        os.environ["MAY_MOUNT"] = "1"
        os.execvp(
            "unshare", ["unshare", "-rm", sys.executable, "-m", "tests.faults.disk", *sys.argv[1:]]
        )
    stages = list(STAGES)[:2] if short else list(STAGES)
    rows = []
    with small_disk() as disk, temporary_copy(data_url=str(disk / "pictures"), **SETTINGS) as copy:
        draw_sample(disk / "pictures", 20)
        folder = disk / "project"
        subprocess.run(["cp", "-r", copy, folder], check=True)
        for stage in stages:
            done = run(stage, folder)
            if done.returncode:
                sys.exit(f"error: {stage} failed with room enough: {done.stderr}")
            if short and stage != "split":
                continue
            size = written(stage, folder)
            some = (0, size // 2)
            rooms = some if short else (*some, PAGE, size // 4, size - size // 16)
            rooms = {room // PAGE * PAGE for room in rooms}
            wrong = sum(
                comes_otherwise(stage, folder, filled(folder, room)) for room in sorted(rooms)
            )
            rows.append((f"{stage}: disk full", len(rooms), SAID, wrong))
            wrong = comes_otherwise(stage, folder, read_only(folder))
            rows.append((f"{stage}: folders read-only", 1, SAID, wrong))
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


def comes_otherwise(stage: str, folder: Path, trouble: AbstractContextManager[str]) -> int:
    """Run a stage in trouble; print what came and return 1 if something of it is wrong."""
    before = contents(folder)
    with trouble as name:
        done = run(stage, folder)
    after, lines = contents(folder), done.stderr.splitlines()
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    one_line = len(lines) == 1 and lines[0].startswith("error: ")
    told = done.returncode == 1 and one_line or done.returncode == 0 and not lines
    print(f"{stage}, {name}: {' | '.join(lines[-3:]) or done.stdout.strip()}", flush=True)
    if changed or not told:
        print(f"OTHERWISE: {done.returncode}, changed {sorted(changed)}; {done.stderr}", flush=True)
    return int(bool(changed) or not told)


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file, but those of the user's cache and Python's."""
    return {
        name: sha256(folder / name)
        for name in list_files(folder)
        if not name.startswith(("cache/", "tmp/", ".stage.lock", FILLER))
        and "__pycache__" not in name
    }


@contextmanager
def filled(folder: Path, room: int) -> Iterator[str]:
    """Leave only so many bytes on the disk."""
    filler, disk = folder / FILLER, os.statvfs(folder)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - room)
    yield f"{room:,} bytes left"
    filler.unlink()


@contextmanager
def read_only(folder: Path) -> Iterator[str]:
    """Let nothing be written to the folders with outputs."""
    tops = [
        folder / name for name in ("data", "models", "metrics", "plots") if (folder / name).exists()
    ]
    for top in tops:
        subprocess.run(["mount", "--bind", top, top], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", top], check=True)
    yield "folders read-only"
    for top in tops:
        subprocess.run(["umount", top], check=True)


if __name__ == "__main__":
    main()
