"""Serve predictions over HTTP, with the ONNX export of the model and without TensorFlow.

    python -m service

SIGTERM and Ctrl-C stop it, once all requests that it has begun to read are answered.
"""

import argparse
import asyncio
import contextlib
import socket
import warnings
from dataclasses import fields
from pathlib import Path

import uvicorn

from service.api import Limits, Service
from transfer.core.errors import UserError, run_main
from transfer.serving.engine import load_engine

EXPORT = Path("exports/model.onnx")
LINGER_SECONDS = 1  # requests that cross the notice of the end on their way are still answered


class Server(uvicorn.Server):
    """Tells its clients that it ends, before it closes their connections."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new connections, end the others each with its next answer, then stop."""
        for server in self.servers:
            server.close()
        self.server_state.default_headers.append((b"connection", b"close"))
        await asyncio.sleep(LINGER_SECONDS)
        await super().shutdown(sockets)


def main() -> None:
    arguments = parse()
    warnings.simplefilter("ignore")  # Pillow warns of images that it reads nonetheless
    engine = load_engine(arguments.model)
    limits = Limits(**{field.name: getattr(arguments, field.name) for field in fields(Limits)})
    listening = listen(arguments.host, arguments.port)
    version = engine.description.version or engine.description.model_sha256[:12]
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    address = f"http://{host}:{listening.getsockname()[1]}"
    print(f"{arguments.model} ({version}) is served at {address}", flush=True)
    app = Service(engine, limits).app()
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, ws="none"
    )
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn repeats the signal when it has ended
        Server(config).run([listening])


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, default=EXPORT, help=f"instead of {EXPORT}")
    parser.add_argument("--host", default="127.0.0.1", help="to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="default: %(default)s; 0: any")
    for field in fields(Limits):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(
            option, type=field.type, default=field.default, help="default: %(default)s"
        )
    return parser.parse_args()


def listen(host: str, port: int) -> socket.socket:
    """Open the socket of the server.

    Raises:
        UserError: The address can't be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
        # For its connections: else the second part of an answer waits 40 ms for the client's ACK.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except (OSError, OverflowError) as error:
        reason = str(getattr(error, "strerror", None) or error).partition(" (")[0]
        raise UserError(f"--host {host} --port {port}: {reason}; choose another") from None


if __name__ == "__main__":
    run_main(main)
