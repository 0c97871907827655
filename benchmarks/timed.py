"""Run a command; write what it took to a JSON file: python benchmarks/timed.py RESULT COMMAND …

In a process of its own, which is small: a child's peak memory begins with its parent's.
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
