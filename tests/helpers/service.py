"""The service in a process of its own, and requests to it."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.helpers.project import PROJECT

BOUNDARY = "b7e1f0"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@dataclass
class Service:
    """process: of the server; address: its host and port."""

    process: subprocess.Popen
    address: tuple[str, int]

    def ask(self, body=b"", headers=None, path="/predict", method="POST"):
        """Send a request; return the status, the headers, and the body as it was or from JSON."""
        with self.connected() as connection:
            connection.request(method, path, body, headers or {})
            return read(connection)

    def connected(self):
        """Return a connection, to be closed by a with statement."""
        return closing(http.client.HTTPConnection(*self.address, timeout=60))

    def get(self, path):
        return self.ask(None, path=path, method="GET")


def read(connection):
    """Return the status, the headers and the body of the answer to a request."""
    response = connection.getresponse()
    content = response.read()
    if response.getheader("Content-Type") == "application/json":
        content = json.loads(content)
    return response.status, response.headers, content


def form(*files: tuple[str | bytes, bytes], field: str = "images") -> bytes:
    """Return the body of a form with files."""
    parts = []
    for name, content in files:
        name = name if isinstance(name, bytes) else name.encode()
        head = b'Content-Disposition: form-data; name="%s"; filename="%s"' % (field.encode(), name)
        parts.append(b"--%s\r\n%s\r\n\r\n%s\r\n" % (BOUNDARY.encode(), head, content))
    return b"".join(parts) + b"--%s--\r\n" % BOUNDARY.encode()


@contextmanager
def serving(
    export: Path, *options: str, python: str = sys.executable, folder: Path = PROJECT, **environment
) -> Iterator[Service]:
    """Serve an export; the server can write no file of over 1 kB, and must have no fault."""
    command = [python, "-m", "service", "--model", str(export), "--port", "0", *options]
    process = subprocess.Popen(
        ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *command],
        cwd=folder,
        # Python 3.11 would leave compiled modules that are cut off at that size.
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address = urlsplit(process.stdout.readline().split()[-1])
        yield Service(process, (address.hostname, address.port))
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=60)
        assert errors == ""
