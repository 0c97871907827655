"""Copy what the pipeline needs to another folder, where it runs without Git.

    python -m scripts.project TARGET [name=value …]

The values replace those of params.yaml in the copy. If TARGET is an earlier copy, its code and its
parameters are replaced; its data, its corrections and its DVC cache stay.
"""

import argparse
import math
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from ruamel.yaml import YAML

from transfer.core.errors import UserError, did_you_mean, run_main, shown
from transfer.core.files import CORRECTIONS, NO_IMAGES

PROJECT = Path(__file__).parents[1]
PARAMS = "params.yaml"
PARTS = (
    *("stages", "transfer", ".dvc/config", ".dvc/.gitignore", ".dvcignore", "dvc.yaml", PARAMS),
    *(NO_IMAGES, str(CORRECTIONS)),
)
LOCAL = Path(".dvc/config.local")
MARK = "# a copy made by python -m scripts.project\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path, help="a new folder, or an earlier copy")
    parser.add_argument("changes", nargs="*", metavar="name=value", help="for params.yaml")
    arguments = parser.parse_args()
    changes = dict(map(parse_change, arguments.changes))
    copy_project(arguments.target)
    detach_from_git(arguments.target)
    set_params(arguments.target, **changes)


def parse_change(text: str) -> tuple[str, object]:
    """Return the name and the value of `name=value`; the value is read as YAML 1.2, as DVC does.

    Raises:
        UserError: There is no `=`.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"expected name=value; received {shown(text)}")
    return name, YAML(typ="safe", pure=True).load(value)


def copy_project(target: Path, /, *more: str, **params: object) -> None:
    """Copy what the pipeline needs; code and parameters of an earlier copy are replaced.

    Args:
        target: A new or empty folder, or an earlier copy.
        more: Other files and folders of the project to copy, by their paths in it.
        params: Values that replace those of params.yaml in the copy.

    Raises:
        UserError: The target is another folder, or there is no such parameter.
    """
    found = {path.name for path in target.iterdir()} if target.exists() else set()
    if found - {".git"} and not is_copy(target):
        raise UserError(f"{target}: expected a new folder or a copy that this script made earlier")
    for part in (*PARTS, *more):
        source, copy = PROJECT / part, target / part
        if part == str(CORRECTIONS) and copy.exists():
            continue  # it may hold decisions that a person made in the copy
        if source.is_dir():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
    set_params(target, **params)


def detach_from_git(folder: Path) -> None:
    """Let DVC work in a copy without a Git repository.

    Args:
        folder: The copy.
    """
    (folder / LOCAL).write_text(f"{MARK}[core]\n    no_scm = true\n")


def is_copy(folder: Path) -> bool:
    """Return whether `detach_from_git` has marked a folder as a copy."""
    return (folder / LOCAL).exists() and MARK in (folder / LOCAL).read_text()


@contextmanager
def temporary_copy(parent: Path | None = None, /, *more: str, **params: object) -> Iterator[Path]:
    """Yield a copy of what the pipeline needs, and remove it in the end.

    Args:
        parent: The folder to make it in; None: that for temporary files.
        more: As for `copy_project`.
        params: As for `copy_project`.
    """
    with TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        copy_project(folder, *more, **params)
        yield folder


def set_params(folder: Path, /, **changes: object) -> None:
    """Replace values in a folder's params.yaml; all other lines and all comments stay.

    Args:
        folder: Of the copy.
        changes: The new values by name: text, numbers, booleans or None.

    Raises:
        UserError: There is no such parameter.
    """
    path = folder / PARAMS
    text = path.read_text("utf-8")
    names = re.findall(r"^(\w+):", text, re.MULTILINE)
    for name, value in changes.items():
        if name not in names:
            raise UserError(f"{path}: no parameter is called {name}{did_you_mean(name, names)}")
        line = (
            f"{name}: {yaml.safe_dump(value, width=math.inf, allow_unicode=True).splitlines()[0]}"
        )
        # A comment starts with a # after a space.
        text = re.sub(
            rf"(?m)^{name}:.*?( +#.*)?$", lambda old, new=line: new + (old[1] or ""), text
        )
    path.write_text(text, "utf-8")


if __name__ == "__main__":
    run_main(main)
