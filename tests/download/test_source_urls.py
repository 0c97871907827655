"""Archives of images from a server."""

import gzip
import io
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.helpers.archives import FILES, read, refuse, write_zip
from tests.helpers.web import LOGIN, hang_up, send, web
from transfer.download import fetch
from transfer.download.acquire import acquire_images, content_sha256

pytestmark = pytest.mark.usefixtures("home")

archive = io.BytesIO()
write_zip(archive, FILES)
ARCHIVE = archive.getvalue()


@pytest.fixture
def served(tmp_path):
    """Yield the URL of an archive of FILES on a server."""
    (tmp_path / "served").mkdir()
    write_zip(tmp_path / "served" / "a.zip", FILES)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=tmp_path / "served"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/a.zip"
    server.shutdown()
    server.server_close()
    thread.join()


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_a_fetched_archive_is_kept_once_its_content_was_verified(tmp_path, target, served):
    acquire_images(served, None, target)
    assert read(target) == FILES
    assert not list(fetch.cache_folder().iterdir())  # no hash is known

    acquire_images(served, content_sha256(target), target)
    assert [path.name.split("-")[1] for path in fetch.cache_folder().iterdir()] == ["a.zip"]

    other = tmp_path / "other" / "raw"
    refuse(served, "has other images than it should", other, data_sha256="0" * 64)
    assert not list(fetch.cache_folder().iterdir())


def test_an_archive_that_cannot_be_fetched_names_three_ways_on(target, served):
    url = served.replace("a.zip", "b.zip")
    message = f"no file at {url}.*{fetch.MIRROR}.*a folder of your own.*data_url=sample"
    refuse(url, message, target)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (send(LOGIN), r"received \w+-a\.zip, a web page, such as one to log in on$"),
        (send(b""), "received .*a.zip, an empty file$"),
        (send(gzip.compress(b"PK"), Content_Encoding="gzip"), r"a file that begins with b'\\x1f"),
        (send(ARCHIVE, claimed=len(ARCHIVE) - 30), "expected a whole zip or tar archive"),
        (send(status=403), "the server answers 403 Forbidden; .*needs no login. Three ways on: "),
        (send(status=503), "after 4 attempts: 503 Service Unavailable. Three ways on: "),
        (hang_up, "after 4 attempts: .*without response. Three ways on: "),
    ],
)
def test_servers_that_do_not_give_the_archive(target, answer, message):
    with web(answer) as server:
        refuse(server.url, message, target)
    assert not list(fetch.cache_folder().iterdir())


def test_a_file_that_is_not_the_archive_is_fetched_again(target):
    with web(send(LOGIN), send(ARCHIVE)) as server:
        refuse(server.url, "a web page", target)
        acquire_images(server.url, None, target)
    assert read(target) == FILES
