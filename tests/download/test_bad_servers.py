"""Servers that answer wrongly, late or not at all: the file, or one line of error."""

import shutil
import ssl
import subprocess
import time

import numpy as np
import pytest

from tests.helpers.web import drip, hang, hang_up, resume, send, web
from transfer.core.errors import UserError
from transfer.download import fetch

CONTENT = np.random.default_rng(0).bytes(3_000_000)


@pytest.fixture(autouse=True)
def little_patience(home, monkeypatch):
    monkeypatch.setattr(fetch, "TIMEOUT_SECONDS", 0.3)


def refuse(server, message, requests):
    """Check for one line of error after so many requests, and for an empty cache."""
    with pytest.raises(UserError, match=f"^{server.url}{message}") as caught:
        fetch.fetch(server.url)
    assert "\n" not in str(caught.value)
    assert len(server.asked) == requests
    assert not list(fetch.cache_folder().glob("*.zip"))


@pytest.mark.parametrize(
    "failure",
    [
        *(send(status=status) for status in (408, 425, 429, 500, 502, 503, 504)),
        send(CONTENT[:1000], claimed=len(CONTENT)),
        send(b"", claimed=len(CONTENT)),
        drip(CONTENT, pause=0.01),
        hang,
        hang_up,
    ],
)
def test_a_transient_failure_is_retried(failure):
    with web(failure, failure, failure, resume(CONTENT)) as server:
        assert fetch.fetch(server.url).read_bytes() == CONTENT


def test_a_connection_cut_again_and_again_is_resumed_while_bytes_arrive(monkeypatch):
    monkeypatch.setattr(fetch, "CHUNK", 300_000)
    with web(resume(CONTENT, cut=300_000)) as server:
        assert fetch.fetch(server.url).read_bytes() == CONTENT
    starts = [asked["Range"] for asked in server.asked]
    assert starts == [None, *(f"bytes={start}-" for start in range(300_000, 3_000_000, 300_000))]


def test_a_slow_connection_does_not_count_as_lost():
    with web(drip(CONTENT, pause=0.05, step=200_000)) as server:  # 0.7 s in all
        assert fetch.fetch(server.url).read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_attempts_that_bring_a_few_bytes_are_counted():
    with web(resume(CONTENT, cut=10)) as server:
        refuse(server, " can't be fetched after 4 attempts: .* ended after 40 of 3000000", 4)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (send(status=503), "503 Service Unavailable$"),
        (send(CONTENT, claimed=len(CONTENT) + 1), "the connection ended after 3000000 of 3000001"),
        (drip(CONTENT, pause=0.01), "fewer than 500 bytes a second arrived$"),
        (hang, "timed out$"),
        (hang_up, "Remote end closed connection without response$"),
        (lambda handler: handler.wfile.write(b"\0" * 9), r"BadStatusLine\('\\x00.*'\)$"),
    ],
)
def test_a_lasting_failure_is_one_line_after_four_attempts(answer, reason):
    with web(answer) as server:
        started = time.monotonic()
        refuse(server, f" can't be fetched after 4 attempts: .*{reason}", 4)
        assert time.monotonic() - started < 4


@pytest.mark.parametrize("status", [400, 401, 402, 403, 405, 407, 451])
def test_a_refusal_is_not_retried(status):
    with web(send(status=status)) as server:
        refuse(server, f": the server answers {status} .*needs no login$", 1)


@pytest.mark.parametrize("status", [404, 410])
def test_a_missing_file_is_not_retried(status):
    with web(send(status=status)) as server, pytest.raises(FileNotFoundError):
        fetch.fetch(server.url)
    assert len(server.asked) == 1


def test_a_redirection_is_followed_and_a_loop_is_not():
    def to(url):
        return send(status=302, Location=url)

    with web(to("/a.zip")) as server:
        refuse(server, ": the server answers 302 .*infinite loop", 5)
    with web(to("file:///etc/passwd")) as server:
        refuse(server, ": the server answers 302 .*not allowed", 1)
    with web(to("/b.zip"), resume(CONTENT)) as server:
        assert fetch.fetch(server.url).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed_within_bounds(monkeypatch, status):
    monkeypatch.setattr(fetch, "TIMEOUT_SECONDS", 0.1)
    for ask in ("86400", "Wed, 21 Oct 2065 07:28:00 GMT", "-1", "x"):
        with web(send(status=status, Retry_After=ask)) as server:
            refuse(server, f".*after 4 attempts: {status} ", 4)
    monkeypatch.setattr(fetch, "TIMEOUT_SECONDS", 2)
    with web(send(status=status, Retry_After="1"), resume(CONTENT)) as server:
        started = time.monotonic()
        fetch.fetch(server.url)
        assert time.monotonic() - started >= 1


@pytest.mark.parametrize("length", ["x", "-5"])
def test_an_invalid_length_is_ignored(length):
    with web(send(CONTENT, claimed=length)) as server:
        assert fetch.fetch(server.url).read_bytes() == CONTENT


@pytest.mark.parametrize("says", [0, 2_999_999])
def test_a_part_with_another_start_is_not_appended(says):
    whole = send(CONTENT)
    with web(resume(CONTENT, cut=1_000_000), resume(CONTENT, says=says), whole) as server:
        assert fetch.fetch(server.url).read_bytes() == CONTENT
    assert [asked["Range"] for asked in server.asked] == [None, "bytes=1000000-", None]


def test_a_server_that_can_never_satisfy_the_range_is_refused():
    with web(send(CONTENT[:9], claimed=99), send(status=416)) as server:
        refuse(server, ": the server answers 416 ", 3)


def test_an_unknown_host_is_named():
    with pytest.raises(UserError, match=r"^http://nowhere\.invalid/a.* after 4 attempts: .*\w"):
        fetch.fetch("http://nowhere.invalid/a.zip")


def test_an_untrusted_certificate_is_refused_until_it_is_trusted(tmp_path, monkeypatch):
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -days 2"
    extra = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run([*command.split(), *extra], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with web(resume(CONTENT), tls=tls) as server:
        refuse(
            server, ": .*certificate is not trusted: self-signed certificate; set SSL_CERT_FILE", 0
        )
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert fetch.fetch(server.url).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("failure", "keep", "left"),
    [
        (None, True, True),
        (None, False, False),
        (UserError("wrong"), True, False),
        (OSError(28, "No space left"), False, True),
        (KeyboardInterrupt(), False, True),
    ],
)
def test_a_file_is_removed_only_if_it_is_wrong_itself(tmp_path, failure, keep, left):
    cached, own = fetch.cache_folder() / "a.zip", tmp_path / "a.zip"
    cached.parent.mkdir(parents=True)
    for path in (cached, own):
        path.touch()
        try:
            with fetch.kept_if_valid(path, keep):
                if failure:
                    raise failure
        except type(failure):
            pass
    assert (cached.exists(), own.exists()) == (left, True)
