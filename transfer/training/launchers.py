"""Start the processes of a training stage: on this machine, or as tasks of Slurm."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np

from transfer.core.errors import UserError
from transfer.core.processes import LAUNCHER, WORKERS
from transfer.core.runtime import tf

LAUNCHED = "TRANSFER_LAUNCHED"  # set in the processes that a launcher starts
# When a process is lost, TensorFlow's C++ code prints many lines; ours says it in one.
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", LAUNCHED: "yes"}
POLL_SECONDS = 0.1


def launch_here(command: list[str], workers: int) -> None:
    """Run a command in several processes on this machine; return when all have succeeded.

    TF_CONFIG tells each process of the others. They divide the cores and the GPUs among them. If
    one fails, or this process ends, all end. The output of the first process is passed on; that of
    the others is printed only if they fail.

    Args:
        command: Program and arguments.
        workers: How many processes.

    Raises:
        UserError: One was killed.
    """
    with ExitStack() as stack:
        processes = []
        for index, environment in enumerate(environments_here(workers)):
            output = stack.enter_context(TemporaryFile()) if index else None
            with _pinned(index, workers):
                process = subprocess.Popen(
                    command,
                    env=os.environ | environment,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # Ctrl-C reaches this process only, which ends them
                )
            stack.callback(_end, process)
            processes.append((process, output))
        while None in (codes := [process.poll() for process, _ in processes]) and not any(codes):
            time.sleep(POLL_SECONDS)
        if any(codes):
            exit_with(codes, [output for _, output in processes])


def environments_here(workers: int) -> list[dict[str, str]]:
    """Return the environment variables of each of several processes on this machine.

    Args:
        workers: How many processes.

    Raises:
        UserError: There are GPUs, but fewer than processes.
    """
    with ExitStack() as stack:  # all open at the same time, so that each gets another port
        sockets = [stack.enter_context(socket.socket()) for _ in range(workers)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{free.getsockname()[1]}" for free in sockets]
    environments = [environment_of(addresses, index) for index in range(workers)]
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if len(gpus) < workers:
            raise UserError(
                f"{WORKERS}: expected at most {len(gpus)}, one per GPU of this machine; received "
                f"{workers}"
            )
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        names = visible if len(visible) == len(gpus) else list(map(str, range(len(gpus))))
        for index, environment in enumerate(environments):
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(_part(names, index, workers))
    return environments


def environment_of(addresses: list[str], index: int) -> dict[str, str]:
    """Return the environment variables of one of several processes, given all their host:port."""
    task = {"type": "worker", "index": index}
    config = json.dumps({"cluster": {"worker": addresses}, "task": task})
    return ENVIRONMENT | {"TF_CONFIG": config}


@contextmanager
def _pinned(index: int, workers: int) -> Iterator[None]:
    """Give the processes started meanwhile a worker's part of the cores, where the system can."""
    if not hasattr(os, "sched_setaffinity"):  # macOS
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _part(sorted(cores), index, workers))  # a child inherits it
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _part(items: list, index: int, workers: int) -> list:
    """Return a worker's part of some items, or all of them if there are fewer than workers."""
    return items if len(items) < workers else np.array_split(items, workers)[index].tolist()


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()


def exit_with(codes: list[int | None], outputs: list[BinaryIO | None]) -> None:
    """Print the output of each process that failed, except the first one's, and exit with code 1.

    Args:
        codes: Exit code of each process; None: it was still running.
        outputs: What each has printed; None: it has been passed on already.

    Raises:
        UserError: One was killed.
    """
    for index, code in enumerate(codes):
        if code and code < 0:
            raise UserError(
                f"process {index} of {len(codes)} was ended by {signal.Signals(-code).name}; run "
                "the same command again to continue after the last finished epoch"
            )
    for index, code in enumerate(codes):
        if index and code:
            outputs[index].seek(0)
            print(outputs[index].read().decode(errors="replace"), end="", file=sys.stderr)
    sys.exit(1)


def launch_with_srun(command: list[str], workers: int) -> None:
    """Run a command in several tasks of Slurm; return when all have succeeded.

    Args:
        command: Program and arguments.
        workers: How many tasks.

    Raises:
        UserError: There is no srun.
    """
    if not shutil.which("srun"):
        raise UserError(f"{LAUNCHER}: srun is not installed here; expected local or none")
    # The tasks end with srun, and srun with this process, even if that is killed. Slurm is for
    # Linux only, which has setpriv.
    srun = ["setpriv", "--pdeathsig", "TERM", "srun", f"--ntasks={workers}"]
    options = ["--distribution=block", "--kill-on-bad-exit=1"]
    environment = os.environ | ENVIRONMENT
    with subprocess.Popen([*srun, *options, *command], env=environment) as process:
        try:
            if process.wait():
                sys.exit(1)
        finally:
            process.terminate()
