"""Pages of app/ in a real browser, served as make does it."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from urllib.parse import urlsplit

import psutil
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
NEEDS_BROWSER = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium; apt-get install chromium"),
]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--disable-sync",
]
PHONE = {"width": 390, "height": 844}


@contextmanager
def serving(folder, script, limit="true"):
    """Serve a page from a folder; yield the address and the process.

    limit: A shell command that limits the process.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = f"{sys.executable} -m streamlit run {script} --server.port {port}"
    process = subprocess.Popen(
        ["sh", "-c", f"{limit}; exec {command}"],
        cwd=folder,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},  # as in serving() of service.py
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/_stcore/health", process)
        yield address, process
    finally:
        process.terminate()
        print(process.communicate()[0].decode())


def wait_for(url, process):
    for _ in range(300):
        try:
            return urllib.request.urlopen(url).close()
        except OSError:
            assert process.poll() is None, "the server ended"
            time.sleep(0.1)
    raise AssertionError("the server does not answer")


@contextmanager
def opened(server, browser, requested, **options):
    """Open a page; append the addresses that it requests to a list."""
    page = browser.new_page(**options)
    page.set_default_timeout(60_000)  # it computes the features of the training images once
    page.on("request", lambda request: requested.append(request.url))
    page.on("websocket", lambda websocket: requested.append(websocket.url))
    page.goto(server)
    yield page
    page.close()


def assert_on_loopback(address, process):
    """Assert that a server listens at its address and nowhere else."""
    connections = psutil.Process(process.pid).net_connections("inet")
    listening = [c.laddr for c in connections if c.status == psutil.CONN_LISTEN]
    assert listening == [("127.0.0.1", urlsplit(address).port)]
