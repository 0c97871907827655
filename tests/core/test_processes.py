import json
import os
import shutil

import pytest

from transfer.core.errors import UserError
from transfer.core.processes import Launch, are_several, process_number, read_launch, set_tf_config

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "2",
    "SLURM_STEP_NODELIST": "n[2,10],other",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_PROCID": "3",
    "SLURM_NODEID": "1",
    "SLURM_LOCALID": "1",
}
needs_slurm = pytest.mark.skipif(
    not shutil.which("scontrol"), reason="Slurm is not installed (apt-get install slurm-wlm)"
)


@pytest.fixture
def environment(monkeypatch):
    for name in list(os.environ):
        if name == "TF_CONFIG" or name.startswith(("SLURM_", "TRANSFER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TF_CONFIG", "")  # so that what a test sets is taken back
    return lambda **values: [monkeypatch.setenv(*item) for item in values.items()]


@needs_slurm
def test_srun_fills_the_nodes_in_its_order(environment):
    environment(**SLURM)
    assert process_number() == (3, 5) and are_several()
    set_tf_config()
    config = json.loads(os.environ["TF_CONFIG"])
    workers = ["n2:14608", "n2:14609", "n10:14608", "n10:14609", "other:14608"]
    assert config == {"cluster": {"worker": workers}, "task": {"type": "worker", "index": 3}}
    assert process_number() == (3, 5)


@needs_slurm
def test_another_order_of_tasks_is_refused(environment):
    environment(**SLURM | {"SLURM_NODEID": "0"})
    with pytest.raises(UserError, match="srun: expected .*; start it with --distribution=block"):
        set_tf_config()


def test_a_script_in_a_job_is_alone(environment):
    environment(SLURM_JOB_ID="7", SLURM_NTASKS="4", SLURM_PROCID="0")
    assert process_number() == (0, 1) and not are_several()


def test_the_chief_is_the_first_of_all(environment):
    cluster = {"worker": ["b:1", "c:1"], "chief": ["a:1"]}
    for number, task in enumerate((("chief", 0), ("worker", 0), ("worker", 1))):
        task = dict(zip(("type", "index"), task, strict=True))
        environment(TF_CONFIG=json.dumps({"cluster": cluster, "task": task}))
        assert process_number() == (number, 3)


def test_by_default_a_stage_runs_in_one_process(environment):
    environment(TRANSFER_LAUNCHER="", TRANSFER_WORKERS="", TRANSFER_STRATEGY="")
    assert read_launch() == Launch("none", 1, "auto")


def test_a_launcher_starts_several_processes(environment):
    environment(TRANSFER_LAUNCHER="local", TRANSFER_WORKERS="2", TRANSFER_STRATEGY="multi_worker")
    assert read_launch() == Launch("local", 2, "multi_worker")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"LAUNCHER": "ssh"}, "LAUNCHER: expected one of none, local, srun, ray; received 'ssh'"),
        ({"LAUNCHER": "locla"}, r"LAUNCHER: expected .*\(did you mean local\?\)"),
        ({"STRATEGY": "two"}, "STRATEGY: expected one of auto, one, mirrored, multi_worker; rec"),
        ({"LAUNCHER": "local", "WORKERS": "0"}, "WORKERS: expected a number from 1; received '0'"),
        ({"LAUNCHER": "local", "WORKERS": "-1"}, "WORKERS: expected a number from 1"),
        ({"LAUNCHER": "local", "WORKERS": "two"}, "WORKERS: expected a number from 1"),
        ({"WORKERS": "2"}, "WORKERS: expected 1, since TRANSFER_LAUNCHER is none .*received 2;"),
        (
            {"LAUNCHER": "local", "WORKERS": "2", "STRATEGY": "one"},
            "STRATEGY: expected auto or multi_worker, since .* is local; received one",
        ),
    ],
)
def test_mistakes_get_one_line(environment, values, message):
    environment(**{f"TRANSFER_{name}": value for name, value in values.items()})
    with pytest.raises(UserError, match=f"^TRANSFER_{message}") as caught:
        read_launch()
    assert "\n" not in str(caught.value)
