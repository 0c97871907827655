"""How the training stages run: which processes work on them, and who starts these.

None of it determines the result, so it comes from the environment, not from params.yaml: switching
from one process to four retrains nothing that DVC has cached. docs/reproducibility.md says what may
differ in the last digits.
"""

import json
import os
import re
import subprocess
from dataclasses import dataclass

from transfer.core.errors import UserError, did_you_mean, shown

EXAMPLE = (
    '{"cluster": {"worker": ["first-host:2222", "second-host:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)
JOBS = ("chief", "worker")
STEP = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE")
FIRST_PORT, PORTS = 10_000, 20_000  # for Slurm: below those that Linux gives out

LAUNCHER, WORKERS, STRATEGY = "TRANSFER_LAUNCHER", "TRANSFER_WORKERS", "TRANSFER_STRATEGY"
LAUNCHERS = ("none", "local", "srun", "ray")
STRATEGIES = ("auto", "one", "mirrored", "multi_worker")


@dataclass(frozen=True)
class Launch:
    """What the environment says about the processes of a training stage.

    launcher: What starts them; none: this process works alone, or TF_CONFIG or srun names others.
    workers: How many processes the launcher starts.
    strategy: How batches are distributed: on one device, mirrored over the GPUs of the machine,
        multi_worker; auto: the last of these that is possible.
    """

    launcher: str = "none"
    workers: int = 1
    strategy: str = "auto"


def read_launch() -> Launch:
    """Read and check the environment variables that say how a training stage runs.

    Raises:
        UserError: One has a value that is not allowed, or they contradict each other.
    """
    launcher, strategy = _one_of(LAUNCHER, LAUNCHERS), _one_of(STRATEGY, STRATEGIES)
    written = os.environ.get(WORKERS) or "1"
    if not written.isdecimal() or int(written) < 1:
        raise UserError(f"{WORKERS}: expected a number from 1; received {shown(written)}")
    workers = int(written)
    if launcher == "none" and workers > 1:
        raise UserError(
            f"{WORKERS}: expected 1, since {LAUNCHER} is none and nothing would start them; "
            f"received {workers}; set {LAUNCHER} to one of {', '.join(LAUNCHERS[1:])}"
        )
    if launcher != "none" and strategy not in ("auto", "multi_worker"):
        raise UserError(
            f"{STRATEGY}: expected auto or multi_worker, since {LAUNCHER} is {launcher}; "
            f"received {strategy}"
        )
    return Launch(launcher, workers, strategy)


def _one_of(variable: str, allowed: tuple[str, ...]) -> str:
    value = os.environ.get(variable) or allowed[0]
    if value not in allowed:
        raise UserError(
            f"{variable}: expected one of {', '.join(allowed)}; received {shown(value)}"
            f"{did_you_mean(value, allowed)}"
        )
    return value


def process_number() -> tuple[int, int]:
    """Return this process' number, from 0, and the number of processes.

    Raises:
        UserError: TF_CONFIG is not what TensorFlow expects.
    """
    if config := os.environ.get("TF_CONFIG"):
        try:
            values = json.loads(config)
            cluster, task = values["cluster"], values["task"]
            sizes = [len(cluster.get(job, ())) for job in JOBS]
            job, index = JOBS.index(task["type"]), int(task["index"])
            if cluster.keys() - set(JOBS) or not 0 <= index < sizes[job]:
                raise ValueError
        except (AttributeError, KeyError, TypeError, ValueError):
            raise UserError(
                f"TF_CONFIG: expected a value such as {EXAMPLE}; received {shown(config)}"
            ) from None
        return sum(sizes[:job]) + index, sum(sizes)
    if all(name in os.environ for name in STEP):
        return int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_STEP_NUM_TASKS"])
    return 0, 1


def are_several() -> bool:
    """Return whether this process may be one of several; `process_number` reports mistakes."""
    try:
        return process_number()[1] > 1
    except UserError:
        return True


def set_tf_config() -> None:
    """Set TF_CONFIG from srun's variables, unless it is set.

    TensorFlow's own resolver is not used: it sorts n10 before n2.

    Raises:
        UserError: Neither TF_CONFIG nor srun's variables are set, or srun orders its tasks in
            another way.
    """
    if os.environ.get("TF_CONFIG"):
        return
    if not all(name in os.environ for name in STEP):
        raise UserError(
            f"{STRATEGY}: multi_worker needs several processes: set {LAUNCHER} and {WORKERS}, "
            f"start them with srun, or set TF_CONFIG in each, such as {EXAMPLE}"
        )
    job, step, nodes, tasks = (os.environ[name] for name in STEP)
    hosts = subprocess.run(
        ["scontrol", "show", "hostnames", nodes], check=True, capture_output=True, text=True
    ).stdout.split()
    counts = [
        int(count)
        for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", tasks)
        for _ in range(int(times or 1))
    ]
    # Each job and step has its own ports, so that several can run on one host.
    port = FIRST_PORT + (640 * int(job) + 64 * int(step)) % PORTS
    workers = [
        f"{host}:{port + offset}"
        for host, count in zip(hosts, counts, strict=True)
        for offset in range(count)
    ]
    index = int(os.environ["SLURM_PROCID"])
    address = f"{hosts[int(os.environ['SLURM_NODEID'])]}:{port + int(os.environ['SLURM_LOCALID'])}"
    if workers[index] != address:
        raise UserError(
            "srun: expected tasks that fill one node after the other; received another order; "
            "start it with --distribution=block"
        )
    task = {"type": "worker", "index": index}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": workers}, "task": task})
