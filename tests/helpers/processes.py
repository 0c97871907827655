"""Processes that tests start, and wait for."""

import time

import psutil


def ended(pid: int, within: float = 5) -> bool:
    """Return whether a process ends within so many seconds."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False
