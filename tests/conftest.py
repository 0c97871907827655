"""A copy of the project with DVC in it, and the mark of tests that need the real pictures."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parent.parent
ARCHIVE = "cats_and_dogs_filtered.zip"


def real_archive() -> Path | None:
    mirror = os.environ.get("TRANSFER_MIRROR", "")
    return Path(mirror, ARCHIVE) if mirror and Path(mirror, ARCHIVE).is_file() else None


def pytest_collection_modifyitems(items):
    if real_archive() is None:
        reason = f"TRANSFER_MIRROR names no folder that holds {ARCHIVE}"
        for item in items:
            if item.get_closest_marker("realdata"):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter):
    real = {
        outcome: sum(
            "realdata" in report.keywords for report in terminalreporter.getreports(outcome)
        )
        for outcome in ("passed", "failed", "skipped")
    }
    terminalreporter.write_line(
        f"with real pictures: {real['passed'] + real['failed']} ran, {real['skipped']} skipped"
    )


class Repository:
    """A git and DVC repository that holds the project, and the commands a user types in it."""

    def __init__(self, folder: Path):
        self.folder = folder
        tracked = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(
            ["git", *tracked], cwd=PROJECT, check=True, capture_output=True, text=True
        ).stdout.split("\0")
        for name in filter(None, names):
            # results of the full run stay behind: these runs make their own
            if not name.startswith(("dvc.lock", "metrics/", "plots/")):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT / name, folder / name)
        self.run("git", "init", "-q", "-b", "main")
        self.run("git", "config", "user.name", "Test")
        self.run("git", "config", "user.email", "test@example.org")

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONWARNINGS": "",
        }
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done

    def dvc(self, *arguments: str, check: bool = True) -> str:
        done = self.run(sys.executable, "-m", "dvc", *arguments, check=check)
        return done.stdout + done.stderr

    def set_params(self, **values) -> None:
        path = self.folder / "params.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values))

    def commit(self, message: str = "commit") -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "--allow-empty", "-m", message)

    def hashes(self) -> dict[str, str]:
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text())
        return {out["path"]: out["md5"] for s in lock["stages"].values() for out in s["outs"]}


@pytest.fixture(scope="session")
def make_repository(tmp_path_factory):
    return lambda: Repository(tmp_path_factory.mktemp("repository"))
