"""A web server on loopback that answers each request as a test says."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]
LOGIN = b"<!DOCTYPE html>\n<html><title>Please log in</title></html>"


class Server(ThreadingHTTPServer):
    """asked: the headers of each request that came."""

    daemon_threads = True  # some never end

    def handle_error(self, *_):  # a client that hangs up is what the tests are about
        pass

    @property
    def url(self) -> str:
        scheme = "http" if type(self.socket).__name__ == "socket" else "https"
        return f"{scheme}://127.0.0.1:{self.server_port}/a.zip"


@contextmanager
def web(*answers: Answer, tls=None) -> Iterator[Server]:
    """Serve the answers in turn, the last one again and again."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.close_connection = True
            self.server.asked.append(self.headers)
            answers[min(len(self.server.asked), len(answers)) - 1](self)

        def log_message(self, *_):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    server.asked = []
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    with running(server):
        yield server


@contextmanager
def running(server):
    """Let a server answer in a thread of its own, and close it in the end."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send(body: bytes = b"", status: int = 200, claimed: int | None = None, **headers) -> Answer:
    """Answer with a body; `claimed`: the length that the header says."""

    def answer(handler):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body) if claimed is None else claimed))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def resume(body: bytes, cut: int | None = None, says: int | None = None) -> Answer:
    """Send what the request asks for of a body, and no more than `cut` bytes of that.

    says: where the header says that it begins, if not where it does.
    """

    def answer(handler):
        start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
        if start >= len(body):
            send(status=416)(handler)
            return
        span = f"bytes {start if says is None else says}-{len(body) - 1}/{len(body)}"
        headers = {"status": 206, "Content_Range": span} if start else {}
        send(body[start:][:cut], claimed=len(body) - start, **headers)(handler)

    return answer


def drip(body: bytes, pause: float, step: int = 1) -> Answer:
    """Send a byte now and then, or so many."""

    def answer(handler):
        send(body[:step], claimed=len(body))(handler)
        for i in range(step, len(body), step):
            time.sleep(pause)
            handler.wfile.write(body[i : i + step])

    return answer


def hang(handler: BaseHTTPRequestHandler) -> None:
    """Send nothing."""
    time.sleep(5)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without a word."""
