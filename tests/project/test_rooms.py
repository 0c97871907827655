"""Imports between the rooms of transfer/ go in one direction, as docs/architecture.md says."""

import re
from graphlib import TopologicalSorter

import pytest

from tests.helpers.project import PROJECT, imported_modules, module_name

TABLE = (PROJECT / "docs/architecture.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)
# The rooms, or single modules of rooms, that each room may import.
ALLOWED = {room: re.findall(r"`([\w.]+)`", allowed) for room, allowed in ROW.findall(TABLE)}


def modules_of(room):
    return sorted((PROJECT / "transfer" / room).rglob("*.py"))


def is_within(module, names):
    """Return whether a module is one of those, or lies within one of them."""
    return any(module == name or module.startswith(f"{name}.") for name in names)


def violations(path, room):
    """Return what a module imports although its room may not."""
    allowed = [f"transfer.{name}" for name in (room, *ALLOWED[room])]
    own = ("transfer", "stages", "scripts", "app", "service", "benchmarks", "tests")
    return {
        name
        for name in imported_modules(path)
        if is_within(name, own) and not is_within(name, allowed)
    }


def test_the_table_lists_every_room():
    rooms = {path.parent.name for path in (PROJECT / "transfer").glob("*/__init__.py")}
    assert set(ALLOWED) == rooms and len(rooms) == 9
    assert [path.name for path in (PROJECT / "transfer").glob("*.py")] == ["__init__.py"]


def test_what_the_table_allows_exists():
    for name in {name for allowed in ALLOWED.values() for name in allowed}:
        path = PROJECT / "transfer" / name.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_the_table_allows(room):
    found = {module_name(path): violations(path, room) for path in modules_of(room)}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_no_room_imports_itself_through_others():
    graph = {
        module_name(path): imported_modules(path) - {module_name(path)}
        for room in ALLOWED
        for path in modules_of(room)
    }
    TopologicalSorter(graph).prepare()  # raises where modules import each other in a circle
    rooms = {room: {name.split(".")[0] for name in allowed} for room, allowed in ALLOWED.items()}
    TopologicalSorter(rooms).prepare()


@pytest.mark.parametrize(
    "line",
    [
        "from transfer.training.loop import fit",
        "import transfer.training.loop",
        "from transfer import training",
        "from transfer.models import backbones, classifier",
        "import stages.split",
        "def f():\n    from scripts import sweep",
    ],
)
def test_a_wrong_import_is_found_at_any_level(tmp_path, line):
    path = tmp_path / "module.py"
    path.write_text(f"import numpy\nfrom transfer.core import errors\n{line}\n")
    assert len(violations(path, "download")) == 1
