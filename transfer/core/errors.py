"""Errors are for people: one line that says what was expected and received, no traceback."""

import difflib
import errno
import reprlib
import signal
import sys
from collections.abc import Callable, Sequence

from transfer.core import INTERRUPTED

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, what a user may have, or a file
_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 2, 200, 200


class UserError(Exception):
    """A mistake that a person can mend. The message is one line and says how to go on."""


def one_line(error: Exception) -> str:
    """Return what a library's error says, or its name: one line of at most 200 characters."""
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


def printable(text: str) -> str:
    r"""Return a line that loses nothing: line breaks and what else doesn't print as escapes: \n."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(value: object) -> str:
    """Return `repr(value)`, cut where it would be longer than a person reads."""
    return _REPR.repr(value)


def did_you_mean(word: str, words: Sequence[str]) -> str:
    """Return a hint at the one of `words` that is most like `word`, empty if none is."""
    close = difflib.get_close_matches(word, words, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def run_main(main: Callable[[], None]) -> None:
    """Run a program's `main`; end with one line and a non-zero exit code where it can't go on."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        # A full disk, a file that may not be read: the system's words name it well.
        where = f": {error.filename}" if error.filename else ""
        on = "; make room and run it again" if error.errno in FULL else ""
        sys.exit(f"error: {' '.join(str(error.strerror or error).split())}{where}{on}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
