"""Run a training stage in as many processes as the parameters ask for."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from io import BytesIO
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np

from transfer.core import errors
from transfer.core.errors import UserError
from transfer.core.params import load_params
from transfer.core.processes import process_number
from transfer.core.runtime import tf
from transfer.core.stage import alone, end_with_parent
from transfer.training.strategy import LOST

LAUNCHED = "TRANSFER_LAUNCHED"  # set in what a launcher starts
# Where one is lost, TensorFlow's C++ code has many lines for what is said in one.
OF_ALL = {"TF_CPP_MIN_LOG_LEVEL": "3"}
POLL_SECONDS = 0.1
RAY_SECONDS = 10  # for an address to answer


def run_training(main: Callable[[], None]) -> None:
    """Run a stage's `main`, here or in the processes that `launcher` starts.

    The first of several processes holds the folder's lock, or their launcher does.
    """
    errors.run_main(lambda: _run(main))


def _run(main: Callable[[], None]) -> None:
    if LAUNCHED in os.environ:
        end_with_parent()
        _work(main)
        return
    number, processes = process_number()
    with alone() if number == 0 else nullcontext():
        params = load_params()
        if params.launcher == "none":
            _work(main)
            return
        if processes > 1:
            raise UserError(
                f"launcher: expected none where TF_CONFIG or srun says that there are {processes} "
                f"processes already; received {params.launcher}"
            )
        command = [sys.executable, "-m", sys.modules["__main__"].__spec__.name]
        LAUNCHERS[params.launcher](command, params.workers)


def _work(main: Callable[[], None]) -> None:
    try:
        main()
    except LOST:
        if process_number()[1] == 1:
            raise
        raise UserError(
            "another of the processes has ended or can't be reached; its last line tells why; the "
            "same command goes on after the last finished epoch"
        ) from None


def launch_here(command: list[str], workers: int) -> None:
    """Run a command in several processes on this machine; return when all have ended well.

    They know of each other by TF_CONFIG, and share the cores and the GPUs. One that fails, or this
    process' end, ends them all. The first one's output is passed on, of the others what those say
    that fail.

    Raises:
        UserError: One was killed.
    """
    cores = os.sched_getaffinity(0)
    with ExitStack() as stack:
        processes = []
        for index, environment in enumerate(environments_here(workers)):
            output = stack.enter_context(TemporaryFile()) if index else None
            os.sched_setaffinity(0, _share(sorted(cores), index, workers))  # passed on to a child
            process = subprocess.Popen(
                command,
                env=os.environ | environment,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for this process, which ends them
            )
            stack.callback(_end, process)
            processes.append((process, output))
        os.sched_setaffinity(0, cores)
        while None in (codes := [process.poll() for process, _ in processes]) and not any(codes):
            time.sleep(POLL_SECONDS)
        if any(codes):
            _tell(codes, [output for _, output in processes])


def environments_here(workers: int) -> list[dict[str, str]]:
    """Return what each of several processes on this machine has in its environment."""
    with ExitStack() as stack:  # open at the same time, so that each gets a port of its own
        sockets = [stack.enter_context(socket.socket()) for _ in range(workers)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{free.getsockname()[1]}" for free in sockets]
    environments = [_environment(addresses, index) for index in range(workers)]
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if len(gpus) < workers:
            raise UserError(
                f"workers: expected at most {len(gpus)}, the GPUs of this machine; received "
                f"{workers}"
            )
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        names = visible if len(visible) == len(gpus) else list(map(str, range(len(gpus))))
        for index, environment in enumerate(environments):
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(_share(names, index, workers))
    return environments


def _environment(addresses: list[str], index: int) -> dict[str, str]:
    task = {"type": "worker", "index": index}
    config = json.dumps({"cluster": {"worker": addresses}, "task": task})
    return OF_ALL | {"TF_CONFIG": config, LAUNCHED: "yes"}


def _share(items: list, index: int, workers: int) -> list:
    """Return a worker's share of items, or all where there are fewer than workers."""
    return items if len(items) < workers else np.array_split(items, workers)[index].tolist()


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()


def _tell(codes: list[int | None], outputs: list[BinaryIO | None]) -> None:
    """End with what those processes said that failed, the first one apart, which is heard."""
    for index, code in enumerate(codes):
        if code and code < 0:
            raise UserError(
                f"process {index} of {len(codes)} was ended by {signal.Signals(-code).name}; the "
                "same command goes on after the last finished epoch"
            )
    for index, code in enumerate(codes):
        if index and code:
            outputs[index].seek(0)
            print(outputs[index].read().decode(errors="replace"), end="", file=sys.stderr)
    sys.exit(1)


def launch_with_srun(command: list[str], workers: int) -> None:
    """Run a command in several tasks of Slurm; return when all have ended well.

    Raises:
        UserError: There is no srun.
    """
    if not shutil.which("srun"):
        raise UserError("launcher: expected local or none, for there is no srun; received srun")
    # Its tasks end with it, and it with this process, even if that is killed.
    srun = ["setpriv", "--pdeathsig", "TERM", "srun", f"--ntasks={workers}"]
    options = ["--distribution=block", "--kill-on-bad-exit=1"]
    environment = os.environ | OF_ALL | {LAUNCHED: "yes"}
    with subprocess.Popen([*srun, *options, *command], env=environment) as process:
        try:
            if process.wait():
                sys.exit(1)
        finally:
            process.terminate()


def launch_with_ray(command: list[str], workers: int) -> None:
    """Run a command in several actors of Ray, here or in the cluster that RAY_ADDRESS names.

    Each takes a core, and a GPU where there are some. Return when all have ended well; one that
    fails, or this process' end, ends them all.

    Raises:
        UserError: Ray is not installed or can't be reached, has no room for them, or lost one.
    """
    try:
        import ray
    except ImportError:
        raise UserError(
            "launcher: Ray is not installed; pip install -r extras/ray.txt, or choose local"
        ) from None
    check_ray_address()
    try:
        ray.init(logging_level="ERROR", log_to_driver=True)
    except ConnectionError as error:
        raise UserError(f"launcher: Ray can't be reached: {errors.one_line(error)}") from None
    try:
        kinds = [kind for kind in ("CPU", "GPU") if ray.cluster_resources().get(kind)]
        room = int(min(ray.cluster_resources()[kind] for kind in kinds))
        if room < workers:
            raise UserError(
                f"workers: expected at most {room}, for which Ray has room; received {workers}"
            )
        actor = ray.remote(num_cpus=1, num_gpus="GPU" in kinds)(_RayWorker)
        actors = [actor.remote() for _ in range(workers)]
        addresses = ray.get([worker.address.remote() for worker in actors])
        runs = [
            worker.run.remote(command, os.getcwd(), _environment(addresses, index), index > 0)
            for index, worker in enumerate(actors)
        ]
        waiting, codes, outputs = runs, [None] * workers, [None] * workers
        while waiting and not any(codes):
            (done, *_), waiting = ray.wait(waiting)
            index = runs.index(done)
            codes[index], output = ray.get(done)
            outputs[index] = BytesIO(output or b"")
        if any(codes):
            _tell(codes, outputs)
    except ray.exceptions.RayError as error:
        raise UserError(
            f"Ray lost a process: {errors.one_line(error)}; the same command goes on after the "
            "last finished epoch"
        ) from None
    finally:
        ray.shutdown()


def check_ray_address() -> None:
    """Raise a UserError if nothing answers at RAY_ADDRESS, where Ray would try for minutes."""
    address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host:  # else it is not set, or `auto`
        try:
            socket.create_connection((host, int(port)), timeout=RAY_SECONDS).close()
        except (OSError, ValueError) as error:
            raise UserError(
                "RAY_ADDRESS: expected the host:port of a Ray cluster that runs; received "
                f"{address}: {errors.one_line(error)}"
            ) from None


class _RayWorker:
    """Where Ray has it run, this starts a process that works on the stage."""

    def address(self) -> str:
        """Return this machine's address with a free port."""
        import ray

        with socket.socket() as free:
            free.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"

    def run(
        self, command: list[str], folder: str, environment: dict[str, str], keep: bool
    ) -> tuple[int, bytes | None]:
        """Run a command in a folder, which lies at the same place on each machine.

        Returns:
            Its exit code, and what it printed, if that is kept and not passed on.
        """
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if keep else {}
        environment = os.environ | environment | {"PYTHONUNBUFFERED": "1"}  # Ray has it in a file
        done = subprocess.run(command, cwd=folder, env=environment, **output)
        return done.returncode, done.stdout


LAUNCHERS = {"local": launch_here, "srun": launch_with_srun, "ray": launch_with_ray}
