"""Fetch files: from a mirror if one is set, else from their own address; resumed and retried."""

import errno
import hashlib
import os
import re
import string
import time
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import fsspec
from tqdm import tqdm

from transfer.errors import UserError
from transfer.files import cache_folder

MIRROR = "TRANSFER_MIRROR"  # a folder or base URL that is searched before the network
ATTEMPTS = 4
CHUNK = 1 << 20  # bytes
RETRY_SECONDS = 1  # before the second attempt; twice as long before each one after it
SILENCE_SECONDS = 60  # before a connection counts as lost


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
    folder = Path(mirror).expanduser()
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
    part = target.with_name(f"{name}.part")
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(RETRY_SECONDS * 2 ** (attempt - 1))
        try:
            _download(url, part)
            return part.rename(target)
        except FileNotFoundError:
            raise FileNotFoundError(f"there is no file at {url}") from None
        except (ImportError, ValueError) as error:  # fsspec names the package that is missing
            raise UserError(f"{url}: {error}") from None
        except Exception as error:  # each protocol has its own
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
    raise UserError(f"{url} can't be fetched after {ATTEMPTS} attempts: {reason}")


def _download(url: str, part: Path) -> None:
    """Append to `part` what it lacks of `url`."""
    is_http = url.lower().startswith(("http://", "https://"))
    have = part.stat().st_size if part.exists() else 0
    remote, start, size = (_open_http if is_http else _open)(url, have)
    with (
        remote,
        part.open("ab" if start else "wb") as local,
        tqdm(
            total=size, initial=start, unit="B", unit_scale=True, desc=url[-40:], disable=None
        ) as bar,
    ):
        while chunk := remote.read(CHUNK):
            local.write(chunk)
            bar.update(len(chunk))
    if size is not None and part.stat().st_size != size:
        raise ConnectionError(f"the connection ended after {part.stat().st_size} of {size} bytes")


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
        if error.code == HTTPStatus.NOT_FOUND:
            raise FileNotFoundError from None
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # it is shorter by now
            return _open_http(url, 0)
        raise
    start = have if remote.status == HTTPStatus.PARTIAL_CONTENT else 0
    length = remote.headers["Content-Length"]
    return remote, start, None if length is None else start + int(length)


def _open(url: str, have: int) -> tuple[BinaryIO, int, int | None]:
    """Do as `_open_http` does for the protocols of fsspec."""
    remote = fsspec.open(url, "rb").open()
    size = getattr(remote, "size", None)
    start = have if size is not None and have <= size else 0
    remote.seek(start)
    return remote, start, size
