"""What every stage does around its own work: errors for people, and no other stage beside it."""

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from transfer.core import PARENT, errors

LOCK = Path(".stage.lock")
LOCK_SECONDS = 10  # to wait for a stage that is about to end
POLL_SECONDS = 0.2


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's `main`, alone in its folder, with errors in words for people."""

    def run_alone() -> None:
        with alone():
            main()

    errors.run_main(run_alone)


@contextmanager
def alone() -> Iterator[None]:
    """Hold the lock of the folder; the system takes it back however this process ends.

    A stage that DVC started ends with it: DVC killed can't stop what it runs, and the next run's
    outputs are not for the last one to write.

    Raises:
        UserError: Another stage works in the folder.
    """
    if "DVC_STAGE" in os.environ:
        end_with_parent()
    with LOCK.open("a+") as file:
        ends = time.monotonic() + LOCK_SECONDS
        while not _lock(file.fileno()):
            if time.monotonic() > ends:
                file.seek(0)
                process = file.read()
                raise errors.UserError(
                    f"process {process} runs a stage in this folder; wait for its end, or stop it "
                    f"with `kill {process}`, and run this again"
                )
            time.sleep(POLL_SECONDS)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def end_with_parent() -> None:
    """End this process as soon as the one that started it has ended."""

    def watch() -> None:
        while os.getppid() == PARENT:
            time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)  # nobody is left to read a line

    Thread(target=watch, daemon=True).start()
