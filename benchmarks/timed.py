"""Run a command; write its time and memory as JSON: python benchmarks/timed.py RESULT COMMAND …

It needs a small process of its own: the peak memory of a child starts from that of its parent.
"""

import json
import os
import subprocess
import sys
import time


def main() -> int:
    result, *command = sys.argv[1:]
    started = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    taken = {
        "seconds": time.monotonic() - started,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss * 1024 / 1e6,  # MB; Linux counts in KiB
    }
    with open(result, "w") as file:
        json.dump(taken, file)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
