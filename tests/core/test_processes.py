import json
import os
import shutil

import pytest

from transfer.core.errors import UserError
from transfer.core.processes import are_several, process_number, set_tf_config

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
        if name == "TF_CONFIG" or name.startswith("SLURM_"):
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
