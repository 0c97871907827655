"""Errors are for people: one line that says what was expected and received, no traceback."""

import signal
import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake that a person can mend. The message is one line and says how to go on."""


def one_line(error: Exception) -> str:
    """Return what a library's error says, or its name: one line of at most 200 characters."""
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


def run(main: Callable[[], None]) -> None:
    """Run a program's `main`; end with one line and a non-zero exit code where it can't go on."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        # A full disk, a file that may not be read: the system's words name it well.
        where = f": {error.filename}" if error.filename else ""
        sys.exit(f"error: {error.strerror or error}{where}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on from here")
