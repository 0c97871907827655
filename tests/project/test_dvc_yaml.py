"""dvc.yaml declares exactly what each stage imports and which parameters it reads."""

import ast
import subprocess
import sys

import pytest
import yaml

from tests.helpers.project import PROJECT, imported_names

STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]


def modules_of(path):
    """Return the project's files that `path` imports, and those that they import."""
    found, queue = set(), [path]
    while queue:
        file = queue.pop()
        if file not in found:
            found.add(file)
            queue += imported(file)
    return {str(file.relative_to(PROJECT)) for file in found}


def imported(file):
    candidates = (PROJECT / f"{name.replace('.', '/')}.py" for name in imported_names(file))
    return [candidate for candidate in candidates if candidate.exists()]


def params_of(path):
    """Return the parameters that a stage or a module of it reads as `params.name`."""
    return {name for module in modules_of(path) for name in params_read(PROJECT / module)}


def params_read(path):
    """Return the names read as `params.name`; a call such as `params.check_…()` is none, but
    `params.model_dump()` is all."""
    tree = ast.parse(path.read_text())
    if "params.model_dump()" in path.read_text():  # the report shows them all
        return set(yaml.safe_load((PROJECT / "params.yaml").read_text()))
    calls = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "params"
        if node not in calls
    }


def test_stages_are_the_pipelines():
    assert list(STAGES) == [
        *("download", "split", "features", "train_head", "fine_tune", "evaluate", "plot")
    ]


@pytest.mark.parametrize("name", STAGES)
def test_code_dependencies_are_the_modules_imported(name):
    declared = {dep for dep in STAGES[name]["deps"] if dep.endswith(".py")}
    assert declared == modules_of(PROJECT / "stages" / f"{name}.py")


@pytest.mark.parametrize("name", STAGES)
def test_parameters_are_those_read(name):
    declared = STAGES[name].get("params", [])
    assert set(declared) == params_of(PROJECT / "stages" / f"{name}.py")


def test_every_parameter_is_read_by_some_stage():
    declared = {param for stage in STAGES.values() for param in stage.get("params", [])}
    assert declared == set(yaml.safe_load((PROJECT / "params.yaml").read_text()))


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
