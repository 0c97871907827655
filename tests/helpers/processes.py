"""Processes that tests start and wait for, and programs that run in the tests' own process."""

import contextlib
import io
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import psutil
import pytest

from transfer.core.errors import run_main


def run_here(
    capfd: pytest.CaptureFixture,
    folder: Path,
    main: Callable[[], None],
    *arguments: str,
    stdin: bytes = b"",
) -> subprocess.CompletedProcess:
    """Run a program as `python -m` does, but in this process, where TensorFlow is loaded already.

    Args:
        capfd: Captures what is printed, also by C++ code.
        folder: The working directory.
        main: Of the program.
        arguments: Of the command line.
        stdin: What the program reads from standard input.
    """
    handler = signal.getsignal(signal.SIGTERM)
    capfd.readouterr()
    with (
        contextlib.chdir(folder),
        mock.patch.object(sys, "argv", [main.__module__, *map(str, arguments)]),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
    ):
        code = None
        try:
            run_main(main)
        except SystemExit as end:
            code = end.code
        finally:
            signal.signal(signal.SIGTERM, handler)
    out, error = capfd.readouterr()
    if isinstance(code, str):  # Python prints it and exits with 1
        code, error = 1, f"{error}{code}\n"
    return subprocess.CompletedProcess(arguments, code or 0, out, error)


def ended(pid: int, within: float = 5) -> bool:
    """Return whether a process ends within so many seconds."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False
