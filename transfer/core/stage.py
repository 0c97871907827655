"""What every stage does around its own work: errors in one line, and no other stage beside it."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from filelock import FileLock, Timeout

from transfer.core import PARENT, errors

LOCK = Path(".stage.lock")  # holds the number of the process that holds the lock
LOCK_SECONDS = 10  # wait this long for a stage that is about to end
POLL_SECONDS = 0.2


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's `main`, alone in its folder; print errors in one line.

    Args:
        main: The work of the stage.
    """

    def run_alone() -> None:
        with alone():
            main()

    errors.run_main(run_alone)


@contextmanager
def alone() -> Iterator[None]:
    """Hold the lock of the working directory; the system releases it however this process ends.

    A stage that DVC started ends with DVC: a killed DVC can't stop its stage, which would go on
    writing to the outputs of the next run.

    Raises:
        UserError: Another stage runs in this folder.
    """
    if "DVC_STAGE" in os.environ:
        end_with_parent()
    # Not a soft lock, which would outlive a killed process.
    lock = FileLock(LOCK, LOCK_SECONDS, poll_interval=POLL_SECONDS, fallback_to_soft=False)
    try:
        held = lock.acquire()
    except Timeout:
        process = LOCK.read_text()
        raise errors.UserError(
            f"process {process} runs a stage in this folder; wait until it ends, or stop it "
            f"with `kill {process}`, and run this again"
        ) from None
    with held:
        LOCK.write_text(str(os.getpid()))
        yield


def end_with_parent() -> None:
    """Kill this process as soon as the one that started it has ended."""

    def watch() -> None:
        while os.getppid() == PARENT:
            time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)  # nobody is left to read a message

    Thread(target=watch, daemon=True).start()
