"""The project's own files: where they are, what its modules import and its locks hold."""

import ast
import os
import re
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2]


def git(*arguments: str) -> str:
    """Run git in the project, also where that came as a ZIP file without a repository."""
    with TemporaryDirectory() as folder:
        environment = dict(os.environ)
        if not (PROJECT / ".git").exists():
            subprocess.run(["git", "init", "-q", "--bare", folder], check=True)
            environment |= {"GIT_DIR": folder, "GIT_WORK_TREE": str(PROJECT)}
        return subprocess.run(
            ["git", *arguments],
            cwd=PROJECT,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout


def project_files() -> list[str]:
    """Return the paths of the files that are in git or would be added."""
    names = git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return [name for name in names if name and (PROJECT / name).is_file()]


@cache
def pins(name: str) -> dict[str, tuple[str, str]]:
    """Return the lines `package==version …` of a file: by package, the version and the rest."""
    text = (PROJECT / name).read_text().replace("\\\n", "")
    found = re.findall(r"(?m)^([\w.-]+)(?:\[\w+\])?==(\S+)(.*)", text)
    return {canonicalize_name(package): (version, rest) for package, version, rest in found}


def imported_names(path: Path) -> set[str]:
    """Return the modules that a file imports, and what it imports from them: a.b of `from a`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def module_name(path: Path) -> str:
    """Return what a file of the project is imported as."""
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")


def imported_modules(path: Path) -> set[str]:
    """Return the modules that a file imports, at any level, `a.b` of `from a import b` included.

    Of the project's own packages, b is resolved: `from transfer import data` imports transfer.data,
    and not what else transfer holds.
    """
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: import from the whole name instead"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            inner = {name for name in names if _is_module(name)}
            modules |= inner | ({node.module} if names - inner else set())
    return modules


def _is_module(name: str) -> bool:
    path = PROJECT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()
