"""Files and functions stay short enough to be read at once."""

import ast

import pytest

from tests.helpers.project import PROJECT

FOLDERS = ("app", "benchmarks", "scripts", "service", "stages", "tests", "transfer")
PATHS = [path for folder in FOLDERS for path in sorted((PROJECT / folder).rglob("*.py"))]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_no_file_has_over_300_lines_and_no_function_over_50(path):
    code = path.read_text()
    assert len(code.splitlines()) <= 300
    functions = [node for node in ast.walk(ast.parse(code)) if isinstance(node, FUNCTIONS)]
    lengths = [(node.name, node.end_lineno - node.lineno + 1) for node in functions]
    assert [(name, lines) for name, lines in lengths if lines > 50] == []
