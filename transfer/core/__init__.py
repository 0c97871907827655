"""What every other room stands on: errors, files, parameters, processes and the runtime."""

import os
import sys
from types import TracebackType

# DVC, where it started this process. Read before anything else is imported: DVC may be killed while
# TensorFlow loads, and this process' parent is then another one.
PARENT = os.getppid()
INTERRUPTED = "interrupted; run the same command again to continue from here"


def _print_in_one_line(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print(INTERRUPTED, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


# For Ctrl-C while TensorFlow loads, seconds before `errors.run_main` can catch it.
sys.excepthook = _print_in_one_line
