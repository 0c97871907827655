"""What in a CPU affects the last digits of a result: its instruction set and the threads used."""

import os
import platform

import numpy as np

from transfer.core.parallel import CORES

# TensorFlow sums gradients in as many parts as it has threads.
THREADS = int(os.environ.get("TF_NUM_INTRAOP_THREADS") or CORES)
# NumPy's names of the x86 levels, best first; kernels for a higher level sum in another order.
LEVELS = {"X86_V4": "AVX-512", "X86_V3": "AVX2"}


def describe_cpu() -> str:
    """Return the kind of CPU, such as `x86_64 with AVX2`; the same on equal machines."""
    # NumPy leaves out lists that are empty, as this one may be on ARM.
    found = np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", ())
    level = next((f" with {name}" for key, name in LEVELS.items() if key in found), "")
    return f"{platform.machine()}{level}"
