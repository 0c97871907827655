"""dvc.yaml declares the rooms that each stage imports, and exactly the parameters that it reads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.helpers.project import PROJECT, imported_names
from transfer.core.recipes import ROBUST

STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((PROJECT / "params.yaml").read_text())
# Reads parameters of later stages, to refuse mistakes early; the result does not depend on them.
CHECK = "check_layers"
EVERY = {"params.yaml": None}


def modules_of(path):
    """Return the project's files that `path` imports, and those that they import."""
    found, queue = set(), [path]
    while queue:
        file = queue.pop()
        if file not in found:
            found.add(file)
            candidates = (PROJECT / f"{n.replace('.', '/')}.py" for n in imported_names(file))
            queue += [candidate for candidate in candidates if candidate.exists()]
    return {file.relative_to(PROJECT) for file in found}


def params_read(path):
    """Return the names that a file reads as `params.name`."""
    tree = ast.parse(path.read_text())
    if "params.model_dump()" in path.read_text():  # the report shows them all
        return set(PARAMS)
    checks = [node for node in ast.walk(tree) if getattr(node, "name", "") == CHECK]
    checked = {node for check in checks for node in ast.walk(check)}
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "params"
        if node not in checked
    }


def declared_params(name):
    params = STAGES[name].get("params", [])
    return set(PARAMS) if params == [EVERY] else set(params)


def covers(dependency, module):
    return module == dependency or dependency in module.parents


def test_stages_are_the_six_of_the_pipeline():
    assert list(STAGES) == ["download", "split", "train_head", "fine_tune", "evaluate", "plot"]


@pytest.mark.parametrize("name", STAGES)
def test_code_dependencies_cover_what_is_imported_and_nothing_else(name):
    modules = modules_of(PROJECT / "stages" / f"{name}.py")
    code = [Path(dep) for dep in STAGES[name]["deps"] if dep.startswith(("stages/", "transfer/"))]
    assert all(any(covers(dep, module) for dep in code) for module in modules)
    assert all(any(covers(dep, module) for module in modules) for dep in code)
    assert all((PROJECT / dep).exists() for dep in code)


def test_nothing_runs_where_a_room_is_imported_but_in_core():
    """A stage may depend on one module of a room; what its __init__ did would go unseen."""
    for path in (PROJECT / "transfer").rglob("__init__.py"):
        (docstring, *code) = ast.parse(path.read_text()).body
        assert isinstance(docstring.value, ast.Constant)
        assert bool(code) == (path.parent.name == "core"), path


@pytest.mark.parametrize("name", STAGES)
def test_parameters_are_those_read(name):
    read = [params_read(PROJECT / m) for m in modules_of(PROJECT / "stages" / f"{name}.py")]
    names = set().union(*read)
    # The recipe says what is read where these are `auto`.
    assert declared_params(name) == names | ({"recipe"} if names & set(ROBUST) else set())


def test_every_parameter_is_read_by_a_stage_other_than_the_report():
    declared = set().union(*(declared_params(name) for name in STAGES if name != "plot"))
    assert declared == set(PARAMS)


def test_commands_hold_no_path():
    assert [stage["cmd"] for stage in STAGES.values()] == [f"python -m stages.{s}" for s in STAGES]


def test_readme_shows_the_graph_that_dvc_draws():
    dag = subprocess.run(
        [sys.executable, "-m", "dvc", "dag", "--md"],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert dag.replace("\t", "  ").strip() in (PROJECT / "README.md").read_text()
