"""Repositories with a copy of the project, and the commands that a user types in them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from scripts.project import copy_project, set_params

# What tests use besides what the pipeline needs.
MORE = (".gitignore", ".streamlit", "app", "scripts")
# Parameters with which the pipeline runs in a minute.
SMALL = {
    "recipe": "tutorial",
    "base_weights": "random",
    "image_size": 32,
    "head_epochs": 1,
    "fine_tune_epochs": 1,
    "familiarity": True,
}


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
        copy_project(self.folder, *MORE)

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
        set_params(self.folder, **values)

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
