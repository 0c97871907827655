"""The commands and the code in the guides: run as they stand there, or marked why not."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.helpers.browser import wait_for
from tests.helpers.guides import MARK, PAGES, blocks
from tests.helpers.project import PROJECT, project_files
from tests.helpers.repository import SMALL, Repository
from tests.helpers.web import running
from transfer.download.sample import draw_sample

SERVERS = {"make app": 8501, "make review": 8501, "make serve": 8000, "make watch": 8501}
INSTALLED = ("installed", "app-installed", "search-installed", "service/installed")
# Smaller images than a reader's, and less of what takes long.
INSTEAD = {
    "--minutes 30": "--minutes 0.5",
    "224, 224": "32, 32",
    "TRIALS=20": "TRIALS=2",
    "find / ": "find . ",
}


@pytest.mark.parametrize("page", PAGES)
def test_a_block_is_run_here_or_says_why_not(page):
    text = (PROJECT / page).read_text()
    assert len(blocks(page)) == len(re.findall(r"^ *```(?:sh|python)$", text, re.MULTILINE))
    for block in blocks(page):
        if block.mark:
            match = MARK.fullmatch(block.mark)
            assert match, f"{page}: {block.mark}"
            assert not match[1] or (PROJECT / match[1]).is_file(), f"{page}: {block.mark}"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Return links to the environment of the tests, in which make finds everything installed."""
    folder = tmp_path_factory.mktemp("environment")
    for place in (folder, folder / "service"):
        place.mkdir(exist_ok=True)
        for name in ("bin", "lib", "pyvenv.cfg"):
            (place / name).symlink_to(Path(sys.prefix) / name)
    return folder


@pytest.fixture(scope="module")
def reader(tmp_path_factory, environment):
    """Return a reader's repository, whose pipeline has run on a few images."""
    folder = tmp_path_factory.mktemp("reader") / "repository"
    for name in project_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, folder / name)
    draw_sample(folder.with_name("first"), 20)
    draw_sample(folder / "holiday", 1)
    (folder / "more").mkdir()
    for kind in ("cat", "dog"):
        image = folder / f"holiday/{kind}s/{kind}.0000.jpg"
        for name in (f"{kind}.jpg", f"{kind}.png", f"more/{kind}.png"):
            shutil.copy(image, folder / name)
    (folder / ".venv").symlink_to(environment)
    for name in INSTALLED:
        (environment / name).touch()  # now, after the locks that make compares them with
    repository = Repository(folder)
    repository.set_params(data_url=str(folder.with_name("first")), **SMALL | {"recipe": "robust"})
    repository.dvc("remote", "add", "--default", "team", str(folder.with_name("remote")))
    repository.dvc("repro")
    repository.commit("results")
    return repository


@contextmanager
def served(folder):
    """Serve a folder over HTTP; yield its address."""
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with running(server):
        yield f"http://127.0.0.1:{server.server_port}/"


@pytest.fixture
def typed(reader, tmp_path):
    """Return a function that runs a block in the reader's repository; servers run to the end."""
    draw_sample(tmp_path / "images", 20)
    servers = {}

    def stop(port):
        if process := servers.pop(port, None):
            os.killpg(process.pid, signal.SIGINT)
            process.wait(30)

    def run_line(line):
        *first, last = line.split(" && ")
        if last not in SERVERS:
            reader.run("bash", "-ec", line)
        else:
            reader.run("bash", "-ec", " && ".join([*first, "true"]))
            port = SERVERS[last]
            stop(port)
            command = [*last.split(), "--silent"]
            servers[port] = subprocess.Popen(command, cwd=reader.folder, start_new_session=True)
            wait_for(f"http://127.0.0.1:{port}/", servers[port])
        if line.startswith("dvc queue start"):
            while re.search("Running|Queued", status := reader.dvc("queue", "status")):
                time.sleep(1)
            assert "Success" in status and "Failed" not in status

    with served(reader.folder) as address:
        instead = {"/path/to/images": str(tmp_path / "images"), "https://example.org/": address}

        def run(block):
            text = block.text
            for old, new in (INSTEAD | instead).items():
                text = text.replace(old, new)
            if block.language == "python":
                reader.run("python", "-c", text)
            else:
                for line in replace(block, text=text).commands:
                    run_line(line)

        yield run
    for port in [*servers]:
        stop(port)
    reader.run("git", "clean", "-fdq")
    reader.restore()


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if not all(b.mark for b in blocks(page))])
def test_what_a_page_shows_works(page, reader, typed):
    for block in blocks(page):
        if not block.mark:
            typed(block)
