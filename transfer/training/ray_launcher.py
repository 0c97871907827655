"""Start the processes of a training stage as actors of Ray."""

import os
import socket
import subprocess
from io import BytesIO
from types import ModuleType

from transfer.core import errors
from transfer.core.errors import UserError
from transfer.core.processes import LAUNCHER, WORKERS
from transfer.training.launchers import environment_of, exit_with

CONNECT_SECONDS = 10  # for RAY_ADDRESS to answer


def launch_with_ray(command: list[str], workers: int) -> None:
    """Run a command in several actors of Ray, here or in the cluster that RAY_ADDRESS names.

    Each actor takes a core and, if the cluster has GPUs, a GPU. Return when all have succeeded; if
    one fails, or this process ends, all end.

    Args:
        command: Program and arguments.
        workers: How many actors.

    Raises:
        UserError: Ray is not installed or can't be reached, has too little room, or lost an actor.
    """
    ray = _connect()
    try:
        kinds = [kind for kind in ("CPU", "GPU") if ray.cluster_resources().get(kind)]
        room = int(min(ray.cluster_resources()[kind] for kind in kinds))
        if room < workers:
            raise UserError(
                f"{WORKERS}: expected at most {room}, for which Ray has room; received {workers}"
            )
        actor = ray.remote(num_cpus=1, num_gpus="GPU" in kinds)(_RayWorker)
        actors = [actor.remote() for _ in range(workers)]
        addresses = ray.get([worker.address.remote() for worker in actors])
        runs = [
            worker.run.remote(command, os.getcwd(), environment_of(addresses, index), index > 0)
            for index, worker in enumerate(actors)
        ]
        _wait(ray, runs)
    except ray.exceptions.RayError as error:
        raise UserError(
            f"Ray lost a process: {errors.one_line(error)}; run the same command again to continue "
            "after the last finished epoch"
        ) from None
    finally:
        ray.shutdown()


def _connect() -> ModuleType:
    """Return Ray, connected to the cluster or to one of its own.

    Raises:
        UserError: Ray is not installed or can't be reached.
    """
    try:
        import ray
    except ImportError:
        raise UserError(
            f"{LAUNCHER}: Ray is not installed; pip install -r extras/ray.txt, or set it to local"
        ) from None
    check_ray_address()
    try:
        ray.init(logging_level="ERROR", log_to_driver=True)
    except ConnectionError as error:
        raise UserError(f"{LAUNCHER}: Ray can't be reached: {errors.one_line(error)}") from None
    return ray


def _wait(ray: ModuleType, runs: list) -> None:
    """Wait for all runs to succeed; at the first that fails, exit with its output."""
    waiting, codes, outputs = runs, [None] * len(runs), [None] * len(runs)
    while waiting and not any(codes):
        (done, *_), waiting = ray.wait(waiting)
        index = runs.index(done)
        codes[index], output = ray.get(done)
        outputs[index] = BytesIO(output or b"")
    if any(codes):
        exit_with(codes, outputs)


def check_ray_address() -> None:
    """Raise a UserError if nothing answers at RAY_ADDRESS; Ray itself would try for minutes."""
    address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host:  # otherwise it is not set, or `auto`
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        except (OSError, ValueError) as error:
            raise UserError(
                "RAY_ADDRESS: expected the host:port of a running Ray cluster; received "
                f"{address}: {errors.one_line(error)}"
            ) from None


class _RayWorker:
    """Start a process that works on the stage, wherever Ray places this actor."""

    def address(self) -> str:
        """Return this machine's address with a free port."""
        import ray

        with socket.socket() as free:
            free.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"

    def run(
        self, command: list[str], folder: str, environment: dict[str, str], keep: bool
    ) -> tuple[int, bytes | None]:
        """Run a command in a folder that has the same path on every machine.

        Args:
            command: Program and arguments.
            folder: Where to run it.
            environment: Variables to add.
            keep: Whether to keep its output instead of passing it on.

        Returns:
            Its exit code, and its output if it is kept.
        """
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if keep else {}
        # Ray redirects the output to a file, which Python would buffer.
        environment = os.environ | environment | {"PYTHONUNBUFFERED": "1"}
        done = subprocess.run(command, cwd=folder, env=environment, **output)
        return done.returncode, done.stdout
