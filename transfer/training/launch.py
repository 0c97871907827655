"""Run a training stage in as many processes as the environment asks for (docs/distributed.md)."""

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext

from transfer.core import errors
from transfer.core.errors import UserError
from transfer.core.processes import LAUNCHER, process_number, read_launch
from transfer.core.stage import alone, end_with_parent
from transfer.training.launchers import LAUNCHED, launch_here, launch_with_srun
from transfer.training.ray_launcher import launch_with_ray
from transfer.training.strategy import LOST
from transfer.training.trackers import check_trackers

START = {"local": launch_here, "srun": launch_with_srun, "ray": launch_with_ray}


def run_training(main: Callable[[], None]) -> None:
    """Run a training stage's `main`, here or in the processes that a launcher starts.

    The launcher, or the first of several processes, holds the folder's lock.

    Args:
        main: Of the stage; it takes and returns nothing.
    """
    errors.run_main(lambda: _run(main))


def _run(main: Callable[[], None]) -> None:
    if LAUNCHED in os.environ:
        end_with_parent()
        _work(main)
        return
    number, processes = process_number()
    with alone() if number == 0 else nullcontext():
        launch = read_launch()
        if number == 0:
            check_trackers()
        if launch.launcher == "none":
            _work(main)
            return
        if processes > 1:
            raise UserError(
                f"{LAUNCHER}: expected none, since TF_CONFIG or srun names {processes} processes "
                f"already; received {launch.launcher}"
            )
        command = [sys.executable, "-m", sys.modules["__main__"].__spec__.name]
        START[launch.launcher](command, launch.workers)


def _work(main: Callable[[], None]) -> None:
    try:
        main()
    except LOST:
        if process_number()[1] == 1:
            raise
        raise UserError(
            "another process has ended or can't be reached; its last line says why; run the same "
            "command again to continue after the last finished epoch"
        ) from None
