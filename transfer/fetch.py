"""Fetch files: from a mirror if one is set, else from their own address; resumed and retried."""

import hashlib
import os
import re
import time
from pathlib import Path

import aiohttp
import fsspec
import platformdirs
from tqdm import tqdm

from transfer.errors import UserError

MIRROR = "TRANSFER_MIRROR"  # a folder or base URL that is searched before the network
ATTEMPTS = 4
CHUNK = 1 << 20  # bytes
CONNECT_SECONDS, SILENCE_SECONDS = 20, 60


def is_url(address: str) -> bool:
    """Tell a URL (https://, s3://, gs://, …) from a path."""
    return re.match(r"[a-z][a-z0-9+.-]*://", address, re.IGNORECASE) is not None


def cache_folder() -> Path:
    """Return the folder of the user's cache that downloads go to."""
    return platformdirs.user_cache_path("transfer-learning", ensure_exists=True)


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
    name = f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{url.rstrip('/').rsplit('/', 1)[-1]}"
    target = cache_folder() / name
    if target.exists():
        return target
    part = target.with_name(f"{name}.part")
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(2 ** (attempt - 1))
        try:
            _download(url, part)
            return part.rename(target)
        except FileNotFoundError:
            raise
        except (ImportError, ValueError) as error:  # fsspec names the package that is missing
            raise UserError(f"{url}: {error}") from None
        except (aiohttp.ClientError, TimeoutError, fsspec.exceptions.FSTimeoutError) as error:
            reason = str(error) or type(error).__name__
    raise UserError(f"{url} can't be fetched after {ATTEMPTS} attempts: {reason}")


def _download(url: str, part: Path) -> None:
    """Append to `part` what it lacks of `url`."""
    timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
    http = url.lower().startswith("http")
    options = {"client_kwargs": {"timeout": timeout}} if http else {}
    with fsspec.open(url, "rb", **options) as remote:
        size = getattr(remote, "size", None)  # unknown: the server can't resume
        have = part.stat().st_size if part.exists() else 0
        if size is None or have > size:
            have = 0
        if have:
            remote.seek(have)
        with (
            part.open("ab" if have else "wb") as local,
            tqdm(
                total=size, initial=have, unit="B", unit_scale=True, desc=url[-40:], disable=None
            ) as bar,
        ):
            while chunk := remote.read(CHUNK):
                local.write(chunk)
                bar.update(len(chunk))
    if size is not None and part.stat().st_size != size:
        raise TimeoutError(f"the connection ended after {part.stat().st_size} of {size} bytes")
