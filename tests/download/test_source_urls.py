"""Archives of images from a server."""

import gzip
import io

import pytest

from tests.helpers.archives import FILES, read, refuse, write_zip
from tests.helpers.web import LOGIN, hang_up, send, web
from transfer.download import fetch
from transfer.download.acquire import acquire_images, content_sha256

pytestmark = pytest.mark.usefixtures("home")

ARCHIVE = write_zip(io.BytesIO(), FILES).getvalue()


def test_a_fetched_archive_is_kept_once_its_content_was_verified(tmp_path, target):
    with web(send(ARCHIVE)) as server:
        acquire_images(server.url, None, target)
        assert read(target) == FILES
        assert not list(fetch.cache_folder().iterdir())  # no hash is known

        acquire_images(server.url, content_sha256(target), target)
        assert [path.name.split("-")[1] for path in fetch.cache_folder().iterdir()] == ["a.zip"]

        other = tmp_path / "other" / "raw"
        refuse(server.url, "has other images than it should", other, data_sha256="0" * 64)
        assert not list(fetch.cache_folder().iterdir())


def test_an_archive_that_cannot_be_fetched_names_three_ways_on(target):
    with web(send(status=404)) as server:
        ways = f"{fetch.MIRROR}.*a folder of your own.*data_url=sample"
        refuse(server.url, f"no file at {server.url}.*{ways}", target)


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
def test_what_came_instead_of_the_archive_is_told(target, answer, message):
    with web(answer) as server:
        refuse(server.url, message, target)
    assert not list(fetch.cache_folder().iterdir())


def test_a_file_that_is_not_the_archive_is_fetched_again(target):
    with web(send(LOGIN), send(ARCHIVE)) as server:
        refuse(server.url, "a web page", target)
        acquire_images(server.url, None, target)
    assert read(target) == FILES
