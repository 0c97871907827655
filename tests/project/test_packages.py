"""Every package is locked with its hashes, and nothing else gets installed."""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.helpers.project import PROJECT, imported_names, pins, project_files

LOCKS = {
    "requirements.txt": "requirements.lock",
    "app/requirements.txt": "app/requirements.lock",
    "extras/docs.txt": "extras/docs.lock",
    "extras/search.txt": "extras/search.lock",
    "service/requirements.txt": "service/requirements.lock",
    "tests/requirements.txt": "tests/requirements.lock",
}


@pytest.mark.parametrize("requirements", LOCKS)
def test_locks_hold_what_is_asked_for_each_with_its_hashes(requirements):
    lock, constraints = pins(LOCKS[requirements]), pins("constraints.txt")
    versions = {package: version for package, (version, _) in lock.items()}
    asked = {package: version for package, (version, _) in pins(requirements).items()}
    assert asked.items() <= versions.items()
    for package, (version, rest) in lock.items():
        hashes = rest.split(" ; ")[-1].split("--hash=")[1:]
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", h) for h in hashes), package
        if "sys_platform == 'win32'" not in rest:
            assert constraints[package][0] == version, package


def test_constraints_hold_nothing_that_is_in_no_lock():
    assert set(pins("constraints.txt")) <= {p for lock in LOCKS.values() for p in pins(lock)}


def test_every_package_that_is_imported_is_locked():
    distributions, files = packages_distributions(), project_files()
    own = {part for name in files for part in (Path(name).stem, Path(name).parts[0])}
    for name in files:
        if name.endswith(".py") and not name.startswith("benchmarks/"):  # its engines are optional
            installed = {"requirements.lock", f"{Path(name).parts[0]}/requirements.lock"}
            for start, extra in (("scripts/search", "search"), ("docs/", "docs")):
                if name.startswith(start):
                    installed.add(f"extras/{extra}.lock")
            locked = {p for lock in installed & {*LOCKS.values()} for p in pins(lock)}
            modules = {module.split(".")[0] for module in imported_names(PROJECT / name)}
            for module in modules - sys.stdlib_module_names - own:
                packages = {canonicalize_name(d) for d in distributions[module]}
                assert packages & locked, (name, module)


def test_make_installs_only_bytes_of_the_lock(tmp_path):
    shutil.copy(PROJECT / "Makefile", tmp_path)
    (tmp_path / "setuptools-84.2.1-py3-none-any.whl").write_bytes(b"other bytes")
    (tmp_path / "requirements.lock").write_text(
        f"setuptools==84.2.1 \\\n    --hash=sha256:{'0' * 64}\n"
    )
    offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    done = subprocess.run(
        ["make", "install", f"PYTHON={sys.executable}"],
        cwd=tmp_path,
        env=os.environ | offline,
        capture_output=True,
        text=True,
    )
    assert done.returncode and "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert not (tmp_path / ".venv/installed").exists()


def test_every_pip_install_of_make_asks_for_hashes():
    lines = [
        line for line in (PROJECT / "Makefile").read_text().splitlines() if "pip install" in line
    ]
    assert len(lines) == 1 and "--require-hashes" in lines[0]
