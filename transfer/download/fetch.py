"""Fetch files: from a mirror if one is set, else from their own address; resumed and retried."""

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

MIRROR = "TRANSFER_MIRROR"  # a folder or base URL that is searched before the network
ATTEMPTS = 4  # one after the other that bring less than a CHUNK each
CHUNK = 1 << 20  # bytes
RETRY_SECONDS = 1  # before the second attempt; twice as long before each one after it
SILENCE_SECONDS = 60  # before a connection counts as lost, and the most that a server may ask for
SLOWEST = 500  # bytes a second, over SILENCE_SECONDS; a modem of 1990 brought 1,000
# Of the answers from 300 to 499, those that may be another one in a moment.
PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


def is_url(address: str) -> bool:
    """Tell a URL (https://, s3://, gs://, …) from a path."""
    return re.match(r"[a-z][a-z0-9+.-]*://", address, re.IGNORECASE) is not None


def file_name(url: str) -> str:
    """Return the last part of a URL's path, without a query."""
    return re.split("[?#]", url)[0].rstrip("/").rsplit("/", 1)[-1]


def in_mirror(name: str) -> Path | None:
    """Return the file `name` of the mirror, fetched if the mirror is a URL; None without one.

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
    """Download `url` into the user's cache and return the file; an earlier attempt is resumed.

    Raises:
        FileNotFoundError: The server says that there is no such file.
        UserError: It could not be fetched, or its protocol needs a package that is missing.
    """
    # Cut: the query of a signed URL is longer than a file's name may be.
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
        except Exception as error:  # each protocol has its own
            if isinstance(error, OSError) and error.filename == str(part):  # trouble of the disk
                raise
            failures = 1 if _size(part) - have >= CHUNK else failures + 1
            if failures == ATTEMPTS:
                raise UserError(
                    f"{url} can't be fetched after {ATTEMPTS} attempts: {_reason(error)}"
                ) from None
            time.sleep(_pause(error, failures))


@contextmanager
def kept_if_right(path: Path, keep: bool = True) -> Iterator[Path]:
    """Yield a file; if the block finds fault with it, or not `keep`, remove it from the cache.

    There it would be found again, and not be fetched anew. A file of a mirror stays.
    """
    remove = True
    try:
        yield path
        remove = not keep
    except (OSError, KeyboardInterrupt):  # such as a full disk: no fault of the file's
        remove = False
        raise
    finally:
        if remove and path.is_relative_to(cache_folder()):
            path.unlink(missing_ok=True)


def what_it_is(path: Path) -> str:
    """Say what a file that should be another one looks like."""
    with path.open("rb") as file:
        start = file.read(32)
    if start.lstrip().startswith(b"<"):
        return "a web page, such as one to log in on"
    return f"a file that begins with {start!r}" if start else "an empty file"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    """Return on one line what a library says of its error."""
    reason = " ".join(str(getattr(error, "reason", "") or error).split())
    if isinstance(error, HTTPError):
        return f"{error.code} {reason}"
    return reason if reason.isprintable() and reason else shown(error)


def _pause(error: Exception, failures: int) -> float:
    """Return how many seconds to wait: as many as the server asks for, or more each time."""
    asked = error.headers["Retry-After"] if isinstance(error, HTTPError) else None
    if asked and asked.isdecimal():
        return min(int(asked), SILENCE_SECONDS)
    return RETRY_SECONDS * 2 ** (failures - 1)


def _download(url: str, part: Path) -> None:
    """Append to `part` what it lacks of `url`."""
    is_http = url.lower().startswith(("http://", "https://"))
    remote, start, size = (_open_http if is_http else _open)(url, _size(part))
    read = getattr(remote, "read1", remote.read)  # what there is: read() waits for a whole CHUNK
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
            if time.monotonic() - since > SILENCE_SECONDS:
                if local.tell() - counted < SLOWEST * SILENCE_SECONDS:
                    raise ConnectionError(f"under {SLOWEST} bytes a second came")
                counted, since = local.tell(), time.monotonic()
    if size is not None and _size(part) != size:
        raise ConnectionError(f"the connection ended after {_size(part)} of {size} bytes")


@contextmanager
def _naming_the_disk(path: Path) -> Iterator[None]:
    """Tell trouble with the disk, such as a full one, from trouble with the network: by a name."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            error.filename = str(path)
        raise


def _open_http(url: str, have: int) -> tuple[BinaryIO, int, int | None]:
    """Open `url` at byte `have`, or at 0 where it can't be resumed; return where and the size.

    Not with fsspec: it calls every failure a missing file, and reads large files from no server
    without Range.
    """
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = Request(quote(url, safe=string.punctuation), headers=headers)
    try:
        remote = urlopen(request, timeout=SILENCE_SECONDS)
    except HTTPError as error:
        error.close()
        if have and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # it is shorter now
            return _open_http(url, 0)
        if error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            raise FileNotFoundError from None
        if error.code in PASSING or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
        raise UserError(
            f"{url}: the server answers {_reason(error)}; it wants another address, or "
            "one that needs no login"
        ) from None
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise UserError(
                f"{url}: the server's certificate is not trusted: {error.reason.verify_message}; "
                "SSL_CERT_FILE may name a file of more authorities"
            ) from None
        raise
    start = have if remote.status == HTTPStatus.PARTIAL_CONTENT else 0
    if start and not remote.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        remote.close()
        return _open_http(url, 0)
    return remote, start, None if remote.length is None else start + remote.length


def _open(url: str, have: int) -> tuple[BinaryIO, int, int | None]:
    """Do as `_open_http` does for the protocols of fsspec."""
    remote = fsspec.open(url, "rb").open()
    size = getattr(remote, "size", None)
    start = have if size is not None and have <= size else 0
    remote.seek(start)
    return remote, start, size
