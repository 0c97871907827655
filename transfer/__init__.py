"""Transfer learning for image classification: what the pipeline's stages share."""

import os
import sys

# Of a stage: DVC. Taken before all else, for DVC may be killed while TensorFlow loads.
PARENT = os.getppid()
INTERRUPTED = "interrupted; the same command goes on from here"


def _in_one_line(kind, error, traceback):
    if issubclass(kind, KeyboardInterrupt):
        print(INTERRUPTED, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


# For Ctrl-C while TensorFlow loads, seconds before `errors.run` can catch it.
sys.excepthook = _in_one_line
