"""A `python` that has TensorFlow loaded already, for the many programs that tests run.

TensorFlow takes 10 s to load on two slow cores, and the tests run a hundred stages. So one process
loads it once, and each program is a fork of it: a process of its own, with its own environment,
working directory and output. Nothing of TensorFlow's runtime is started before the fork.
test_another_clone_gets_the_same_bytes compares with the plain Python.

    python tests/helpers/warm_python.py serve FOLDER PID       until the process PID has ended
    python tests/helpers/warm_python.py run FOLDER -m MODULE … as `python -m MODULE …`
"""

import json
import os
import runpy
import signal
import socket
import sys
import time
from pathlib import Path

SOCKET, LOG = "socket", "server.log"
SHIM = """#!/bin/sh
case "$1 $2" in
  "-m stages."*|"-m scripts."*) exec "{python}" -S "{file}" run "{folder}" "$@" ;;
  *) exec "{python}" "$@" ;;
esac
"""
START_SECONDS = 120
PART = 1 << 20  # bytes of a request to read at a time
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def start(folder: Path, pid: int) -> None:
    """Start the server, and write the program `python` to a folder.

    Args:
        folder: An empty one, with a short path, since it will hold a Unix socket.
        pid: The server ends when this process has ended.
    """
    shim = folder / "python"
    shim.write_text(SHIM.format(python=sys.executable, file=__file__, folder=folder))
    shim.chmod(0o755)
    environment = os.environ | {"PYTHONWARNINGS": ""}
    command = [sys.executable, __file__, "serve", str(folder), str(pid)]
    with open(os.devnull, "r+b") as null, (folder / LOG).open("wb") as log:
        files = [(os.POSIX_SPAWN_DUP2, file.fileno(), fd) for fd, file in ((0, null), (1, log))]
        files.append((os.POSIX_SPAWN_DUP2, 1, 2))
        os.posix_spawn(command[0], command, environment, file_actions=files, setsid=True)
    deadline = time.monotonic() + START_SECONDS
    while not (folder / SOCKET).exists():
        if time.monotonic() > deadline:
            raise TimeoutError((folder / LOG).read_text())
        time.sleep(0.05)


def serve(folder: Path, pid: int) -> None:
    """Load TensorFlow; run a program for each connection, as long as a process lives."""
    # As transfer/core/runtime.py sets them.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow  # noqa: F401
    import keras  # noqa: F401  # isort: skip
    import cv2  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import pydantic  # noqa: F401

    request = wait_for_request(folder, pid)
    if request:  # this is a fork now
        run_program(*request)


def wait_for_request(folder: Path, pid: int) -> tuple[dict, list[int]] | None:
    """Return what a program needs, in a fork for each; in the server, None in the end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that attend
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "new"))
        server.listen()
        (folder / "new").rename(folder / SOCKET)
        server.settimeout(1)
        while is_alive(pid):
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            with connection:
                if os.fork() == 0:
                    return attend(connection)
    return None


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def attend(connection: socket.socket) -> tuple[dict, list[int]]:
    """Return what a program needs, in another fork; here, send its pid, then its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    connection.settimeout(None)
    content, files, _, _ = socket.recv_fds(connection, PART, 3)
    while not content.endswith(b"\n"):
        content += connection.recv(PART)
    pid = os.fork()
    if pid == 0:
        return json.loads(content), files
    connection.sendall(b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def run_program(request: dict, files: list[int]) -> None:
    """Become the program: take over its files, its environment, and its arguments."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    _, module, *arguments = request["arguments"]
    sys.path[0], sys.argv = request["folder"], [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def run(folder: Path, arguments: list[str]) -> None:
    """Ask the server to run a program; pass signals on to it, and end as it ends."""
    request = {
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "arguments": arguments,
    }
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(folder / SOCKET))
        socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], [0, 1, 2])
        with connection.makefile() as answers:
            pid = int(answers.readline())
            for number in SIGNALS:
                signal.signal(number, lambda received, _: os.kill(pid, received))
            code = int(answers.readline())
    if code < 0:  # killed by a signal: end alike
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    command, place, *rest = sys.argv[1:]
    if command == "serve":
        serve(Path(place), int(rest[0]))
    else:
        run(Path(place), rest)
