"""The processes that work on one training, by TF_CONFIG or by the variables that srun sets."""

import json
import os
import re
import subprocess

from transfer.core.errors import UserError, shown

EXAMPLE = (
    '{"cluster": {"worker": ["first-host:2222", "second-host:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)
JOBS = ("chief", "worker")
STEP = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE")
FIRST_PORT, PORTS = 10_000, 20_000  # for Slurm: below those that Linux gives out


def process_number() -> tuple[int, int]:
    """Return this process' number, from 0, and how many there are.

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
                f"TF_CONFIG: expected such as {EXAMPLE}; received {shown(config)}"
            ) from None
        return sum(sizes[:job]) + index, sum(sizes)
    if all(name in os.environ for name in STEP):
        return int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_STEP_NUM_TASKS"])
    return 0, 1


def are_several() -> bool:
    """Tell whether this process may be one of several; a mistake in TF_CONFIG is not told here."""
    try:
        return process_number()[1] > 1
    except UserError:
        return True


def set_tf_config() -> None:
    """Set TF_CONFIG, if it isn't, by what srun says; TensorFlow's own way sorts n10 before n2.

    Raises:
        UserError: Neither is there.
    """
    if os.environ.get("TF_CONFIG"):
        return
    if not all(name in os.environ for name in STEP):
        raise UserError(
            "strategy: multi_worker needs processes that know of each other: set launcher and "
            f"workers, start them with srun, or set TF_CONFIG in each, such as {EXAMPLE}"
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
    # A job and a step have ports of their own, so that several can be on a host.
    port = FIRST_PORT + (640 * int(job) + 64 * int(step)) % PORTS
    workers = [
        f"{host}:{port + place}"
        for host, count in zip(hosts, counts, strict=True)
        for place in range(count)
    ]
    index = int(os.environ["SLURM_PROCID"])
    place = f"{hosts[int(os.environ['SLURM_NODEID'])]}:{port + int(os.environ['SLURM_LOCALID'])}"
    if workers[index] != place:
        raise UserError(
            "srun: expected its tasks to fill one node after the other; received another order; "
            "start it with --distribution=block"
        )
    task = {"type": "worker", "index": index}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": workers}, "task": task})
