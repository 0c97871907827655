"""make docs: the guides as a site."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.helpers.project import PROJECT, project_files

PAGES = [name for name in project_files() if re.fullmatch(r"docs/\w+\.md|[A-Z]+\.md", name)]
LOADED = re.compile(r"<(?:script|img|iframe)[^>]* src=\"?([^\"> ]+)|<link[^>]* href=\"?([^\"> ]+)")


def build(folder, config):
    """Build the site; return the process."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", config, "-d", folder]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=PROJECT, env=environment, text=True, capture_output=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(folder, PROJECT / "mkdocs.yml")
    assert done.returncode == 0, done.stderr
    return folder


def test_every_guide_is_a_page_of_the_menu(site):
    menu = (site / "index.html").read_text()
    for name in PAGES:
        page = name.replace("README", "index").replace(".md", ".html")
        assert (site / page).exists()
        assert f'href="{page}"' in menu or f"href={page}" in menu or page == "index.html"


def test_pages_load_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        for match in LOADED.finditer(page.read_text()):
            address = match[1] or match[2]
            assert not re.match(r"(https?:)?//", address), f"{page.name}: {address}"


@pytest.mark.parametrize(("link", "code"), [("README.md", 0), ("nowhere.md", 1)])
def test_a_link_that_leads_nowhere_is_an_error(tmp_path, link, code):
    (tmp_path / "docs").mkdir()
    shutil.copy(PROJECT / "docs/hooks.py", tmp_path / "docs")
    (tmp_path / "README.md").write_text(f"[a link]({link})")
    config = (PROJECT / "mkdocs.yml").read_text().partition("nav:")[0]
    (tmp_path / "mkdocs.yml").write_text(config)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    done = build(tmp_path / "site", tmp_path / "mkdocs.yml")
    assert done.returncode == code, done.stderr
    assert (link in done.stderr) == bool(code)
