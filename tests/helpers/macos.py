"""Run programs as on macOS, as far as Linux can: python -m tests.helpers.macos "MODULE ARG …" …"""

import ctypes.util  # noqa: F401  (it depends on the true sys.platform, as others below)
import fcntl
import os
import platform
import runpy
import select
import shlex
import socket
import sys
import sysconfig
import tempfile
import urllib.request  # noqa: F401
import uuid  # noqa: F401

import psutil  # noqa: F401  (its own part for macOS is not here)

# What Python has on Linux but not on every macOS.
LINUX_ONLY = {
    os: (
        *("O_DIRECT", "O_TMPFILE", "copy_file_range", "eventfd", "fdatasync", "getrandom"),
        *("memfd_create", "pidfd_open", "pipe2", "posix_fadvise", "posix_fallocate", "preadv"),
        *("preadv2", "pwritev", "pwritev2", "splice"),
        *(name for name in dir(os) if name.startswith(("POSIX_FADV_", "SCHED_", "sched_"))),
    ),
    fcntl: tuple(
        name
        for name in dir(fcntl)
        if name.startswith(("DN_", "F_ADD_SEALS", "F_GET_SEALS", "F_OFD_", "F_SEAL_", "LOCK_MAND"))
        or name in ("F_GETLEASE", "F_GETPIPE_SZ", "F_NOTIFY", "F_SETLEASE", "F_SETPIPE_SZ")
    ),
    select: tuple(name for name in dir(select) if name.lower().startswith("epoll")),
    socket: ("SOCK_CLOEXEC", "SOCK_NONBLOCK"),
}


def main() -> None:
    for module, names in LINUX_ONLY.items():
        for name in set(names) & set(vars(module)):
            delattr(module, name)
    tempfile._O_TMPFILE_WORKS = False
    sysconfig.get_config_vars()  # read from a file that is named after sys.platform
    sys.platform = "darwin"
    platform.system = lambda: "Darwin"
    for command in sys.argv[1:]:
        sys.argv = shlex.split(command)
        runpy.run_module(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
