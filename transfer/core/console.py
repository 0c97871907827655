"""What a terminal shows: keep libraries quiet."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def quiet() -> Iterator[TextIO]:
    """Drop what libraries print to stderr and warn of; yield the real stderr, for progress bars.

    C++ code (TensorFlow as it starts, libtiff) writes to file descriptor 2, which only the whole
    process can redirect.
    """
    sys.stderr.flush()
    with os.fdopen(os.dup(2), "w") as stderr, open(os.devnull, "w") as devnull:
        os.dup2(devnull.fileno(), 2)
        try:
            with warnings.catch_warnings(action="ignore"):
                yield stderr
        finally:
            os.dup2(stderr.fileno(), 2)
