"""Fetch files from a mirror or from their own address; resume and retry.

HTTP is spoken with urllib: fsspec reports every failure as a missing file, and reads large files
from no server without Range; requests knows neither the certificates of the system nor
SSL_CERT_FILE, urllib3 no proxies from the environment. The retries of these two repeat a request,
while what breaks off here is the body of the answer: a loop that resumes it, and counts only
attempts in vain, would be needed anyway.
"""

import hashlib
import os
import re
import ssl
import string
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

import fsspec
from tqdm import tqdm

from transfer.core.errors import FULL, UserError, shown
from transfer.core.files import cache_folder

MIRROR = "TRANSFER_MIRROR"  # a folder or base URL that is searched first
ATTEMPTS = 4  # in a row, each of which brings less than a CHUNK
CHUNK = 1 << 20  # bytes
RETRY_SECONDS = 1  # before the second attempt; twice as long before each further one
TIMEOUT_SECONDS = 60  # until a silent connection counts as lost; and the longest Retry-After obeyed
MIN_SPEED = 500  # bytes a second, over TIMEOUT_SECONDS; a modem of 1990 brought 1,000
# Of the statuses from 300 to 499, those that may be different in a moment.
TRANSIENT = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


def is_url(address: str) -> bool:
    """Return whether an address is a URL (https://, s3://, gs://, …) rather than a path."""
    return re.match(r"[a-z][a-z0-9+.-]*://", address, re.IGNORECASE) is not None


def file_name(url: str) -> str:
    """Return the last part of a URL's path, without a query."""
    return re.split("[?#]", url)[0].rstrip("/").rsplit("/", 1)[-1]


def find_in_mirror(name: str) -> Path | None:
    """Return the file of that name in the mirror, or None if there is no mirror or no such file.

    If the mirror is a URL, the file is fetched.

    Raises:
        UserError: The mirror is not a folder, or can't be reached.
    """
    mirror = os.environ.get(MIRROR)
    if not mirror:
        return None
    if is_url(mirror):
        try:
            return fetch(f"{mirror.rstrip('/')}/{name}")
        except FileNotFoundError:
            return None
    folder = Path(os.path.expanduser(mirror))
    if not folder.is_dir():
        raise UserError(f"{MIRROR} must name a folder or a base URL; received {mirror!r}")
    return folder / name if (folder / name).is_file() else None


def fetch(url: str) -> Path:
    """Download a file into the user's cache and return its path; resume an earlier attempt.

    Raises:
        FileNotFoundError: The server answers that there is no such file.
        UserError: The file can't be fetched, or its protocol needs a package that is missing.
    """
    # Cut, since a URL may be longer than the name of a file.
    name = f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{file_name(url)[-100:]}"
    target = cache_folder() / name
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{name}.part")
    failures = 0
    while True:
        have = _size(part)
        try:
            _download(url, part)
            return part.rename(target)
        except FileNotFoundError:
            raise FileNotFoundError(f"there is no file at {url}") from None
        except UserError:
            raise
        except (ImportError, ValueError) as error:  # fsspec names the package that is missing
            raise UserError(f"{url}: {error}") from None
        except Exception as error:  # each protocol has exceptions of its own
            if isinstance(error, OSError) and error.filename == str(part):  # such as a full disk
                raise
            failures = 1 if _size(part) - have >= CHUNK else failures + 1
            if failures == ATTEMPTS:
                raise UserError(
                    f"{url} can't be fetched after {ATTEMPTS} attempts: {_reason(error)}"
                ) from None
            time.sleep(_seconds_to_wait(error, failures))


@contextmanager
def kept_if_valid(path: Path, keep: bool = True) -> Iterator[Path]:
    """Yield a file, and remove it from the cache if the block raises an error about it.

    In the cache it would be found the next time, and not fetched again. A file of a mirror stays.

    Args:
        path: The file, in the cache or elsewhere.
        keep: Whether to keep the file if the block succeeds.
    """
    remove = True
    try:
        yield path
        remove = not keep
    except (OSError, KeyboardInterrupt):  # such as a full disk: the file may be right
        remove = False
        raise
    finally:
        if remove and path.is_relative_to(cache_folder()):
            path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    """Return the message of a library's error as one line."""
    reason = " ".join(str(getattr(error, "reason", "") or error).split())
    if isinstance(error, HTTPError):
        return f"{error.code} {reason}"
    return reason if reason.isprintable() and reason else shown(error)


def _seconds_to_wait(error: Exception, failures: int) -> float:
    """Return the seconds before the next attempt: what the server asks for, or twice the last."""
    asked = error.headers["Retry-After"] if isinstance(error, HTTPError) else None
    if asked and asked.isdecimal():
        return min(int(asked), TIMEOUT_SECONDS)
    return RETRY_SECONDS * 2 ** (failures - 1)


def _download(url: str, part: Path) -> None:
    """Append to the file `part` what is missing of `url`.

    Raises:
        ConnectionError: The connection ended early or was too slow.
        Exception: What else the protocol raises.
    """
    is_http = url.lower().startswith(("http://", "https://"))
    remote, start, size = (_open_http if is_http else _open)(url, _size(part))
    read = getattr(remote, "read1", remote.read)  # read() would wait for a whole CHUNK
    with (
        remote,
        _naming_the_disk(part),
        part.open("ab" if start else "wb") as local,
        tqdm(
            total=size, initial=start, unit="B", unit_scale=True, desc=url[-40:], disable=None
        ) as bar,
    ):
        counted, since = local.tell(), time.monotonic()
        while chunk := read(CHUNK):
            local.write(chunk)
            bar.update(len(chunk))
            if time.monotonic() - since > TIMEOUT_SECONDS:
                if local.tell() - counted < MIN_SPEED * TIMEOUT_SECONDS:
                    raise ConnectionError(f"fewer than {MIN_SPEED} bytes a second arrived")
                counted, since = local.tell(), time.monotonic()
    if size is not None and _size(part) != size:
        raise ConnectionError(f"the connection ended after {_size(part)} of {size} bytes")


@contextmanager
def _naming_the_disk(path: Path) -> Iterator[None]:
    """Add the file's name to an error of a full disk, which tells it from a network error."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            error.filename = str(path)
        raise


def _open_http(url: str, have: int) -> tuple[BinaryIO, int, int | None]:
    """Open a URL at byte `have`, or at 0 if the server can't resume.

    Returns:
        The response, the byte at which it begins, and the size of the whole file; None if the
        server does not say it.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: The server refuses, or its certificate is not trusted.
        OSError: Another attempt may succeed.
    """
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = Request(quote(url, safe=string.punctuation), headers=headers)
    try:
        remote = urlopen(request, timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        error.close()
        if have and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # now shorter
            return _open_http(url, 0)
        if error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            raise FileNotFoundError from None
        if error.code in TRANSIENT or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
        raise UserError(
            f"{url}: the server answers {_reason(error)}; give another URL, one that needs no login"
        ) from None
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise UserError(
                f"{url}: the server's certificate is not trusted: {error.reason.verify_message}; "
                "set SSL_CERT_FILE to a file with the certificates to trust"
            ) from None
        raise
    start = have if remote.status == HTTPStatus.PARTIAL_CONTENT else 0
    if start and not remote.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        remote.close()
        return _open_http(url, 0)
    return remote, start, None if remote.length is None else start + remote.length


def _open(url: str, have: int) -> tuple[BinaryIO, int, int | None]:
    """Open a URL of another protocol with fsspec; return what `_open_http` does."""
    remote = fsspec.open(url, "rb").open()
    size = getattr(remote, "size", None)
    start = have if size is not None and have <= size else 0
    remote.seek(start)
    return remote, start, size
