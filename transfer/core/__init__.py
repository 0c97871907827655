"""What all other rooms build on: errors, files, parameters, processes and the runtime."""

import os
import sys
from types import TracebackType

# DVC's process, if DVC started this one. Read before anything else is imported: if DVC is killed
# while TensorFlow loads, this process gets another parent.
PARENT = os.getppid()
# Libraries that would record and send how they are used read these as they are imported, which is
# never before this room is.
os.environ |= {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
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
