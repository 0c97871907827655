import os
import signal
import subprocess
import sys

import pytest

from scripts.project import copy_project
from tests.helpers.processes import ended
from tests.helpers.project import PROJECT
from transfer.core import stage
from transfer.core.errors import UserError

LINE = "interrupted; run the same command again to continue from here\n"
WORKING = """
import time
from transfer.core.stage import run_stage
run_stage(lambda: (print("works", flush=True), time.sleep(60)))
"""


def start(folder, code=WORKING, **environment):
    """Start a stage in a folder; return when it is running."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(PROJECT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell makes background processes ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    process.line = process.stdout.readline()
    return process


def test_a_second_stage_in_a_folder_is_refused_until_the_first_has_ended(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "LOCK_SECONDS", 0.5)
    with start(tmp_path) as first:
        message = f"process {first.pid} runs a stage in this folder.*`kill {first.pid}`"
        with pytest.raises(UserError, match=message), stage.alone():
            pytest.fail("runs beside the first")
        first.kill()
        first.wait()
        with stage.alone():
            assert stage.LOCK.read_text() == str(os.getpid())


@pytest.mark.parametrize(("by_dvc", "ends"), [(True, True), (False, False)])
def test_a_stage_ends_with_a_killed_dvc_but_not_with_a_shell(tmp_path, by_dvc, ends):
    parent = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {WORKING!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""
    with start(tmp_path, parent, **({"DVC_STAGE": "train_head"} if by_dvc else {})) as process:
        child = int(process.line)
        process.kill()
    try:
        assert ended(child, within=5 if ends else 1) == ends
    finally:
        if not ends:
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_stage_with_one_line(tmp_path, number):
    with start(tmp_path) as process:
        process.send_signal(number)
        assert process.wait(timeout=10) == 1
        assert process.stderr.read() == LINE


def test_ctrl_c_while_tensorflow_loads_prints_one_line(tmp_path):
    loading = "import transfer.core, time; print('loads', flush=True); time.sleep(60)"
    with start(tmp_path, loading) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == -signal.SIGINT
        assert process.stderr.read() == LINE


@pytest.mark.parametrize(
    ("stage_name", "changes", "message"),
    [
        ("fine_tune", {"fine_tune_at": 9999}, "fine_tune_at: the base has 154 layers"),
        ("evaluate", {"seed": -1}, "seed: input should be greater than or equal to 0"),
        ("download", {"data_url": "/nowhere"}, "data_url: expected `sample`, a URL"),
        ("download", {"base_weights": "imagnet"}, "base_weights: expected one of imagenet"),
    ],
)
def test_mistakes_are_refused_before_tensorflow_loads(tmp_path, stage_name, changes, message):
    copy_project(tmp_path / "project", **changes)
    (tmp_path / "project/tensorflow.py").write_text("raise SystemExit('it loads')")
    command = [sys.executable, "-m", f"stages.{stage_name}"]
    done = subprocess.run(command, cwd=tmp_path / "project", capture_output=True, text=True)
    assert done.returncode == 1
    assert message in done.stderr and "it loads" not in done.stderr
