import errno
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from transfer.core.errors import UserError
from transfer.download import fetch

CONTENT = np.random.default_rng(0).bytes(12_000_000)


class Handler(BaseHTTPRequestHandler):
    """Serve CONTENT as the server's `behaviour` says, and note the ranges asked for."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        server = self.server
        asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not self.path.startswith("/file"):
            self.send_error(404)
            return
        if server.errors > 0:
            server.errors -= 1
            self.send_error(500)
            return
        part = CONTENT
        if asked and server.ranges:
            first, last = int(asked[1]), len(CONTENT) - 1
            if first > last:
                self.send_error(416)
                return
            part = CONTENT[first : last + 1]
            server.asked.append(first)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(CONTENT)}")
        else:
            self.send_response(200)
        if server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if body and server.cuts > 0 and len(part) > 1000:
            server.cuts -= 1
            self.wfile.write(part[: len(part) // 2])
            self.close_connection = True
            self.connection.close()
        elif body:
            self.wfile.write(part)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_):  # a client that hangs up is what these tests are about
        pass


@pytest.fixture
def server():
    server = Server(("127.0.0.1", 0), Handler)
    server.ranges, server.errors, server.cuts, server.asked = True, 0, 0, []
    server.url = f"http://127.0.0.1:{server.server_port}/file.zip"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def own_cache_and_no_waiting(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(fetch.MIRROR, raising=False)
    monkeypatch.setattr(fetch, "RETRY_SECONDS", 0)


def part_of(url):
    """Fetch `url`; return the paths of its unfinished and its finished download."""
    done = fetch.fetch(url)
    return done.with_name(f"{done.name}.part"), done


@pytest.mark.parametrize("ranges", [True, False])
def test_file_is_whole_and_fetched_once(server, ranges):
    server.ranges = ranges
    path = fetch.fetch(server.url)
    assert path.read_bytes() == CONTENT
    assert path.parent == fetch.cache_folder()
    server.shutdown()
    assert fetch.fetch(server.url) == path


def test_part_is_resumed_and_not_fetched_again(server):
    part, done = part_of(server.url)
    done.unlink()
    part.write_bytes(CONTENT[:9_000_000])
    server.asked.clear()
    assert fetch.fetch(server.url).read_bytes() == CONTENT
    assert min(server.asked) == 9_000_000
    assert not part.exists()


def test_part_is_dropped_where_the_server_cannot_resume(server):
    part, done = part_of(server.url)
    done.unlink()
    part.write_bytes(b"x" * 100)
    server.ranges = False
    assert fetch.fetch(server.url).read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize(("cuts", "errors"), [(1, 0), (0, 1), (1, 1)])
def test_cut_connections_and_server_errors_are_tried_again(server, ranges, cuts, errors):
    server.ranges, server.cuts, server.errors = ranges, cuts, errors
    assert fetch.fetch(server.url).read_bytes() == CONTENT
    assert (server.cuts, server.errors) == (0, 0)


def test_a_lasting_failure_is_one_line_that_names_the_url(server):
    server.errors = 1000
    with pytest.raises(UserError) as caught:
        fetch.fetch(server.url)
    assert re.match(rf"{server.url} can't be fetched after 4 attempts: .*500", str(caught.value))
    assert "\n" not in str(caught.value)


def test_refused_connection():
    with pytest.raises(UserError, match="can't be fetched after 4 attempts: .*refused"):
        fetch.fetch("http://127.0.0.1:9/file.zip")


def test_missing_file_is_not_tried_again(server):
    with pytest.raises(FileNotFoundError):
        fetch.fetch(server.url.replace("file", "other"))


def test_protocol_without_its_package_names_the_package():
    with pytest.raises(UserError, match=r"gs://bucket/a\.zip: .*gcsfs"):
        fetch.fetch("gs://bucket/a.zip")


def test_unknown_protocol():
    with pytest.raises(UserError, match="nope://host/a"):
        fetch.fetch("nope://host/a")


def test_mirror_folder_comes_first(tmp_path, monkeypatch):
    assert fetch.find_in_mirror("file.zip") is None
    monkeypatch.setenv(fetch.MIRROR, str(tmp_path))
    assert fetch.find_in_mirror("file.zip") is None
    (tmp_path / "file.zip").write_bytes(b"mirrored")
    assert fetch.find_in_mirror("file.zip") == tmp_path / "file.zip"


def test_mirror_url(server, monkeypatch):
    monkeypatch.setenv(fetch.MIRROR, server.url.removesuffix("file.zip"))
    assert fetch.find_in_mirror("file.zip").read_bytes() == CONTENT
    assert fetch.find_in_mirror("other.zip") is None


def test_a_mirror_that_does_not_exist(monkeypatch):
    monkeypatch.setenv(fetch.MIRROR, "/nowhere/mirror")
    with pytest.raises(UserError, match="must name a folder or a base URL; received '/nowhere"):
        fetch.find_in_mirror("file.zip")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://h/a", True),
        ("S3://b/a", True),
        ("/a/b", False),
        ("a.zip", False),
        ("c:\\a", False),
    ],
)
def test_is_url(address, expected):
    assert fetch.is_url(address) is expected


def test_part_that_is_longer_than_the_file_is_dropped(server):
    part, done = part_of(server.url)
    done.unlink()
    part.write_bytes(CONTENT + b"x")
    assert fetch.fetch(server.url).read_bytes() == CONTENT


@pytest.mark.parametrize("length", [1000, 2000])
def test_other_protocols_resume_too(tmp_path, length):
    (tmp_path / "a.zip").write_bytes(CONTENT[:1500])
    url = (tmp_path / "a.zip").as_uri()
    part, done = part_of(url)
    done.unlink()
    part.write_bytes(b"kept" + CONTENT[4:length])
    start = b"kept" if length < 1500 else CONTENT[:4]
    assert fetch.fetch(url).read_bytes() == start + CONTENT[4:1500]


@pytest.mark.parametrize("end", ["?token=" + "x" * 500, "/ä b%20c.zip", "x" * 250])
def test_any_url_makes_a_file_name(server, end):
    assert fetch.fetch(server.url + end).read_bytes() == CONTENT
    assert fetch.file_name("https://h/a/b.zip?x=/y#z") == "b.zip"


def test_a_silent_connection_counts_as_lost(monkeypatch):
    monkeypatch.setattr(fetch, "TIMEOUT_SECONDS", 0.05)
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), None) as silent,
        pytest.raises(UserError, match="after 4 attempts: .*timed out"),
    ):
        fetch.fetch(f"http://127.0.0.1:{silent.server_port}/a.zip")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no disk that is always full")
def test_a_full_disk_is_not_reported_as_a_network_error(server):
    part, done = part_of(server.url)
    done.unlink()
    part.symlink_to("/dev/full")
    with pytest.raises(OSError) as caught:
        fetch.fetch(server.url)
    assert caught.value.errno == errno.ENOSPC
