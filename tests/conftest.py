"""Copies of the project with DVC in them, and the mark of tests that need the real pictures."""

import ast
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

import transfer.core.runtime  # noqa: F401  (first of all: it sets up the TensorFlow that Keras loads)
from transfer.download.sample import draw_sample

PROJECT = Path(__file__).parent.parent
ARCHIVE = "cats_and_dogs_filtered.zip"
SMALL = {
    "base_weights": "random",
    "image_size": 32,
    "head_epochs": 1,
    "fine_tune_epochs": 1,
}


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


def project_files() -> list[str]:
    """Return the paths of the files that are in git or would be added."""
    tracked = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(
        ["git", *tracked], cwd=PROJECT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    return [name for name in names if name and (PROJECT / name).is_file()]


def imported_names(path: Path) -> set[str]:
    """Return the modules that a file imports, and what it imports from them: a.b of `from a`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


class Repository:
    """A git and DVC repository, and the commands that a user types in it."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.run("git", "init", "-q", "-b", "main")
        self.run("git", "config", "user.name", "Test")
        self.run("git", "config", "user.email", "test@example.org")

    def add_project(self) -> None:
        """Copy the project here, without the results of its full run."""
        for name in project_files():
            if not name.startswith(("dvc.lock", "metrics/", "plots/", "models/model_card.md")):
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT / name, self.folder / name)

    def clone(self, folder: Path) -> "Repository":
        clone = Repository(folder)
        clone.run("git", "pull", "-q", str(self.folder), "main")
        return clone

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
        """Run dvc; return all it printed."""
        done = self.run(sys.executable, "-m", "dvc", *arguments, check=check)
        return done.stdout + done.stderr

    def set_params(self, **values) -> None:
        """Edit params.yaml as a person does: the lines stay, and so do their comments."""
        path = self.folder / "params.yaml"
        text = path.read_text()
        for name, value in values.items():
            text, edits = re.subn(rf"(?m)^{name}:[^#\n]*?( +#.*)?$", rf"{name}: {value}\1", text)
            assert edits == 1, name
        path.write_text(text)

    def commit(self, message: str = "commit") -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "--allow-empty", "-m", message)

    def restore(self) -> None:
        """Take back all that an experiment changed."""
        self.run("git", "checkout", "-q", ".")
        self.dvc("checkout")

    def hashes(self) -> dict[str, str]:
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text())
        return {out["path"]: out["md5"] for s in lock["stages"].values() for out in s["outs"]}


def ran(output: str) -> list[str]:
    """Return the stages that dvc says it ran."""
    return re.findall(r"Running stage '(\w+)'", output)


@pytest.fixture(scope="session")
def make_repository(tmp_path_factory):
    def make():
        repository = Repository(tmp_path_factory.mktemp("repository"))
        repository.add_project()
        return repository

    return make


@pytest.fixture(scope="session")
def small_archive(tmp_path_factory):
    """Return an archive of 40 good pictures, a broken one and a stray file."""
    folder = tmp_path_factory.mktemp("pictures")
    draw_sample(folder / "pets", 20)
    (folder / "pets" / "cats" / "broken.jpg").write_bytes(b"no picture")
    (folder / "pets" / "readme.txt").write_text("stray")
    path = folder / "pets.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder / "pets", "pets")
    return path


@pytest.fixture(scope="session")
def make_small_repository(make_repository, small_archive):
    """Make repositories whose pipeline runs in a minute, and has not yet."""

    def make():
        repository = make_repository()
        repository.set_params(data_url=str(small_archive), **SMALL)
        return repository

    return make


@pytest.fixture(scope="module")
def repository(make_small_repository, tmp_path_factory):
    """Return a repository whose pipeline ran, all committed; test files that run at a time share
    the run, each with its own copy."""
    base = tmp_path_factory.getbasetemp()
    finished = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    with finished.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            first = make_small_repository()
            first.dvc("repro")
            first.commit("results")
            first.folder.rename(finished)
    copy = tmp_path_factory.mktemp("copy") / "repository"
    shutil.copytree(finished, copy)
    return Repository(copy)
