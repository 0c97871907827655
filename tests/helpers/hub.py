"""A stand-in for the Hugging Face hub on loopback: a repository that files are uploaded to."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.helpers.web import running

REPOSITORY, COMMIT = "user/name", "c" * 40


class Hub(ThreadingHTTPServer):
    """files: what was uploaded, by path; cards: the READMEs whose YAML it was asked to check."""

    daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        match self.path:
            case "/api/repos/create":
                self.answer({"url": f"{self.server.url}/{REPOSITORY}"})
            case "/api/validate-yaml":
                self.server.cards.append(json.loads(body)["content"])
                self.answer({"errors": [], "warnings": []})
            case path if path == f"/api/models/{REPOSITORY}/preupload/main":
                asked = [file["path"] for file in json.loads(body)["files"]]
                mode = {"uploadMode": "regular", "shouldIgnore": False}
                self.answer({"files": [{"path": path} | mode for path in asked]})
            case path if path == f"/api/models/{REPOSITORY}/commit/main":
                for operation in map(json.loads, body.splitlines()):
                    if operation["key"] == "file":
                        file = operation["value"]
                        self.server.files[file["path"]] = base64.b64decode(file["content"])
                url = f"{self.server.url}/{REPOSITORY}/commit/{COMMIT}"
                self.answer({"success": True, "commitOid": COMMIT, "commitUrl": url})
            case _:
                self.answer({"error": self.path}, 404)

    def do_GET(self):
        api, resolve = f"/api/models/{REPOSITORY}", f"/{REPOSITORY}/resolve/{COMMIT}/"
        path = self.path.partition("?")[0]
        if path == f"{api}/revision/main":
            siblings = [{"rfilename": name} for name in self.server.files]
            self.answer({"id": REPOSITORY, "sha": COMMIT, "siblings": siblings})
        elif path == f"{api}/tree/{COMMIT}":
            self.answer(
                [
                    {"type": "file", "path": name, "size": len(content), "oid": oid(content)}
                    for name, content in self.server.files.items()
                ]
            )
        elif path.removeprefix(resolve) in self.server.files:
            content = self.server.files[path.removeprefix(resolve)]
            self.send(content, ETag=f'"{oid(content)}"', X_Repo_Commit=COMMIT)
        else:
            self.answer({"error": self.path}, 404)

    do_HEAD = do_GET

    def answer(self, content, status=200):
        self.send(json.dumps(content).encode(), status, Content_Type="application/json")

    def send(self, content, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


def oid(content: bytes) -> str:
    """Return the name that git gives to a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def hub() -> Iterator[Hub]:
    server = Hub(("127.0.0.1", 0), Handler)
    server.files, server.cards = {}, []
    with running(server):
        yield server
