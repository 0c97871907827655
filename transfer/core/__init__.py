"""What all other rooms build on: errors, files, parameters, processes and the runtime."""

import os
import sys
from types import TracebackType

# DVC's process, if DVC started this one. Read before anything else is imported: if DVC is killed
# while TensorFlow loads, this process gets another parent.
PARENT = os.getppid()
INTERRUPTED = "interrupted; run the same command again to continue from here"


def _print_in_one_line(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print(INTERRUPTED, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


# For Ctrl-C while TensorFlow loads: that takes seconds, before `errors.run_main` can catch it.
sys.excepthook = _print_in_one_line
