"""Errors that a user can fix, in one line that says what was expected and received."""

import codecs
import difflib
import errno
import io
import reprlib
import signal
import sys
from collections.abc import Callable, Sequence

from transfer.core import INTERRUPTED

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of the disk, the user's quota, or a file
_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 2, 200, 200


class UserError(Exception):
    """A mistake that the user can fix. The message is one line and says how to go on."""


def one_line(error: Exception) -> str:
    """Return the message of a library's error, or its name, as one line of up to 200 characters."""
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


def printable(text: str) -> str:
    r"""Return a text in one line: what isn't printable becomes an escape, such as \n."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(value: object) -> str:
    """Return `repr(value)`, shortened to what fits into a message."""
    return _REPR.repr(value)


def did_you_mean(word: str, words: Sequence[str]) -> str:
    """Return a hint for a mistyped word.

    Args:
        word: As it was typed.
        words: Those that are allowed.

    Returns:
        Such as ` (did you mean split?)`; empty if no allowed word is similar.
    """
    close = difflib.get_close_matches(word, words, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def run_main(main: Callable[[], None]) -> None:
    """Run a program's `main`; if it fails, exit with one line and a non-zero code.

    Errors in the code itself keep their traceback.

    Args:
        main: The program.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _accept_any_name()
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        # A full disk or a file without read permission, which the system's message names.
        where = f": {error.filename}" if error.filename else ""
        advice = "; make room and run it again" if error.errno in FULL else ""
        sys.exit(f"error: {' '.join(str(error.strerror or error).split())}{where}{advice}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _accept_any_name() -> None:
    """Let stdout take every name: as it is where that is possible, else with escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        is_utf8 = codecs.lookup(sys.stdout.encoding).name == "utf-8"
        # The name of a file need not be UTF-8; surrogateescape prints its bytes.
        sys.stdout.reconfigure(errors="surrogateescape" if is_utf8 else "backslashreplace")
