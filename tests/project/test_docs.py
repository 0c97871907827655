"""README.md and the guides: short, complete, and right about what they name."""

import re
from pathlib import Path

import pytest

from scripts import parameters_page
from tests.helpers.project import PROJECT, project_files
from transfer.core.params import Params

README = PROJECT / "README.md"
PAGES = [README, *sorted((PROJECT / "docs").glob("*.md"))]
MARKDOWN = [name for name in project_files() if name.endswith(".md") and "templates" not in name]
MAX_LINES = 200
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)", re.MULTILINE)


def prose(page):
    """Return a page without its blocks of code, whose brackets are no links."""
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page):
    """Return the names by which GitHub links to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_readme_is_short():
    assert len(README.read_text().splitlines()) <= MAX_LINES


def test_readme_limits_the_promise_of_equal_bytes():
    assert "to the bit on the same kind of CPU" in " ".join(README.read_text().split())


def test_parameters_page_is_what_the_script_writes():
    page = (PROJECT / parameters_page.PAGE).read_text()
    assert page == parameters_page.render((PROJECT / "params.yaml").read_text())
    assert re.findall(r"^\| `(\w+)`", page, re.MULTILINE) == list(Params.model_fields)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1}, "whole number from 1"),
        ({"type": "number", "minimum": 0, "maximum": 1}, "number from 0 to 1"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "number above 0, to 1"),
        ({"type": "integer", "minimum": 0, "exclusiveMaximum": 2**31}, "2,147,483,648"),
        ({"type": "string", "enum": ["a", "b"]}, "`a`, `b`"),
        ({"anyOf": [{"type": "string", "pattern": "^a$"}, {"type": "null"}]}, "`^a$` or empty"),
    ],
)
def test_allowed_values_in_words(schema, words):
    assert parameters_page.allowed(schema).endswith(words)


@pytest.mark.parametrize("name", MARKDOWN)
def test_links_and_images_lead_somewhere(name):
    page = PROJECT / name
    files = {PROJECT / name for name in project_files()}
    there = files | {folder for file in files for folder in file.parents}
    for match in LINK.finditer(prose(page)):
        path, _, anchor = (match[1] or match[2]).partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target in there, path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_readme_lists_every_guide():
    listed = re.findall(r"^\| \[[^\]]+\]\((docs/\w+\.md)\)", README.read_text(), re.MULTILINE)
    assert sorted(listed) == [f"docs/{page.name}" for page in PAGES[1:]]


def test_layout_in_readme_is_the_repositorys():
    (tree,) = re.findall(r"^## Layout\n\n```\n(.*?)^```", README.read_text(), re.M | re.DOTALL)
    shown = set()
    for line in tree.splitlines():
        above = "transfer/" if line[0] == " " else ""
        shown |= {above + name for name in re.split(r"  +", line.strip())[0].split(", ")}
    assert all((PROJECT / name).exists() for name in shown), shown
    rooms = {f"transfer/{path.parent.name}/" for path in PROJECT.glob("transfer/*/__init__.py")}
    assert {name for name in shown if name.count("/") == 2} == rooms
    folders = {f"{Path(name).parts[0]}/" for name in project_files() if "/" in name}
    assert {name for name in folders if name[0] != "."} <= shown | {"models/", "data/"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_parameters_named_are_there(page):
    text = page.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)(?=[`\n]| +#| [A-Z]+=)", text)) <= targets
    for module in re.findall(r"python -m ((?:benchmarks|scripts|stages|tests)[\w.]+)", text):
        assert (PROJECT / f"{module.replace('.', '/')}.py").exists(), module
    assert set(re.findall(r"-S '?(\w+)=", text)) <= {*Params.model_fields, "name"}
    for path in re.findall(r"`((?:benchmarks|docs|stages|tests|transfer)/[\w/]+\.\w+)`", text):
        assert (PROJECT / path).exists(), path


def test_guides_that_code_names_are_there():
    for name in project_files():
        if Path(name).suffix in {".py", ".yaml", ".html", ".toml"} or name == "Makefile":
            for guide in re.findall(r"docs/\w+\.md", (PROJECT / name).read_text()):
                assert (PROJECT / guide).exists(), f"{name}: {guide}"
