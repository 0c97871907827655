import errno
import os

import numpy as np
import pytest

from tests.helpers.web import resume, send, web
from transfer.core.errors import UserError
from transfer.download import fetch

pytestmark = pytest.mark.usefixtures("home")
CONTENT = np.random.default_rng(0).bytes(3_000_000)


def part_of(url):
    """Fetch `url`; return the paths of its unfinished and its finished download."""
    done = fetch.fetch(url)
    return done.with_name(f"{done.name}.part"), done


def test_a_file_is_whole_and_fetched_once():
    with web(send(CONTENT)) as server:
        path = fetch.fetch(server.url)
        assert path.read_bytes() == CONTENT
        assert path.parent == fetch.cache_folder()
        assert fetch.fetch(server.url) == path
    assert len(server.asked) == 1


def test_a_part_is_resumed_and_not_fetched_again():
    with web(resume(CONTENT)) as server:
        part, done = part_of(server.url)
        done.unlink()
        part.write_bytes(CONTENT[:2_000_000])
        assert fetch.fetch(server.url).read_bytes() == CONTENT
    assert [asked["Range"] for asked in server.asked] == [None, "bytes=2000000-"]
    assert not part.exists()


def test_a_part_is_dropped_where_the_server_cannot_resume():
    cut = send(CONTENT[:2_000_000], claimed=len(CONTENT))
    with web(cut, send(status=500), send(CONTENT)) as server:
        assert fetch.fetch(server.url).read_bytes() == CONTENT
    rest = "bytes=2000000-"
    assert [asked["Range"] for asked in server.asked] == [None, rest, rest]


def test_a_refused_connection_is_told_after_four_attempts():
    with pytest.raises(UserError, match="can't be fetched after 4 attempts: .*refused"):
        fetch.fetch("http://127.0.0.1:9/file.zip")


def test_a_protocol_without_its_package_names_the_package():
    with pytest.raises(UserError, match=r"gs://bucket/a\.zip: .*gcsfs"):
        fetch.fetch("gs://bucket/a.zip")


def test_an_unknown_protocol_is_refused():
    with pytest.raises(UserError, match="nope://host/a"):
        fetch.fetch("nope://host/a")


def test_a_mirror_folder_is_searched_if_there_is_one(tmp_path, monkeypatch):
    assert fetch.find_in_mirror("file.zip") is None
    monkeypatch.setenv(fetch.MIRROR, str(tmp_path))
    assert fetch.find_in_mirror("file.zip") is None
    (tmp_path / "file.zip").write_bytes(b"mirrored")
    assert fetch.find_in_mirror("file.zip") == tmp_path / "file.zip"


def test_a_mirror_may_be_a_url(monkeypatch):
    with web(send(CONTENT), send(status=404)) as server:
        monkeypatch.setenv(fetch.MIRROR, server.url.removesuffix("a.zip"))
        assert fetch.find_in_mirror("file.zip").read_bytes() == CONTENT
        assert fetch.find_in_mirror("other.zip") is None


def test_a_mirror_that_does_not_exist_is_refused(monkeypatch):
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
def test_urls_are_told_from_paths(address, expected):
    assert fetch.is_url(address) is expected


def test_a_part_that_is_longer_than_the_file_is_dropped():
    with web(resume(CONTENT)) as server:
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
def test_any_url_can_be_fetched_and_kept(end):
    with web(send(CONTENT)) as server:
        assert fetch.fetch(server.url + end).read_bytes() == CONTENT


def test_the_name_of_a_file_is_the_last_part_of_its_path():
    assert fetch.file_name("https://h/a/b.zip?x=/y#z") == "b.zip"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no disk that is always full")
def test_a_full_disk_is_not_reported_as_a_network_error():
    with web(send(CONTENT)) as server:
        part, done = part_of(server.url)
        done.unlink()
        part.symlink_to("/dev/full")
        with pytest.raises(OSError) as caught:
            fetch.fetch(server.url)
    assert caught.value.errno == errno.ENOSPC
