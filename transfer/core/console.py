"""Keep libraries from printing to the terminal."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def quiet() -> Iterator[TextIO]:
    """Drop warnings and what libraries print to stderr; yield the real stderr, for progress bars.

    C++ code (TensorFlow when it starts, libtiff) writes to file descriptor 2, which can only be
    redirected for the whole process.
    """
    sys.stderr.flush()
    # backslashreplace, as sys.stderr does where its encoding lacks a character of a name.
    duplicate = os.fdopen(os.dup(2), "w", errors="backslashreplace")
    with duplicate as stderr, open(os.devnull, "w") as devnull:
        os.dup2(devnull.fileno(), 2)
        try:
            with warnings.catch_warnings(action="ignore"):
                yield stderr
        finally:
            os.dup2(stderr.fileno(), 2)
