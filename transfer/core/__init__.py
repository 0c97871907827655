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
# Kernels of OpenBLAS, and the flags of a CPU that each needs. OpenBLAS itself goes by the model of
# the CPU, and takes older kernels for a model that it does not know: on two CPUs with the same
# flags, the solved head would have other last digits.
KERNELS = {
    "SkylakeX": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "Haswell": {"avx2", "fma"},
}
INTERRUPTED = "interrupted; run the same command again to continue from here"


def _cpu_flags() -> set[str]:
    """Return the flags of the CPU as Linux names them; empty elsewhere."""
    try:
        with open("/proc/cpuinfo") as file:
            return next((set(line.split()) for line in file if line.startswith("flags")), set())
    except OSError:
        return set()


_flags = _cpu_flags()
for _name, _needed in KERNELS.items():
    if _needed <= _flags:
        os.environ.setdefault("OPENBLAS_CORETYPE", _name)  # read as NumPy and SciPy are imported


def _print_in_one_line(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print(INTERRUPTED, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


# For Ctrl-C while TensorFlow loads: that takes seconds, before `errors.run_main` can catch it.
sys.excepthook = _print_in_one_line
