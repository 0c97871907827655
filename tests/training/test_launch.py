"""Several processes work on a stage: started by hand, as on several machines, or by a launcher."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from tests.helpers.models import base_weights
from tests.helpers.processes import ended
from tests.helpers.repository import SMALL, Repository
from transfer.core.errors import UserError
from transfer.models.backbones import build_base
from transfer.training.launch import run_training
from transfer.training.launchers import LAUNCHED, environments_here
from transfer.training.ray_launcher import check_ray_address

pytestmark = pytest.mark.slow

LOST_SECONDS = 30  # for the others to end after one was killed; 3 s on a quiet machine
# Starts sooner than ONNX Runtime, but adds up in as many parts as it has threads.
RUNTIME = {"TRANSFER_FROZEN_RUNTIME": "tensorflow", "TF_NUM_INTRAOP_THREADS": "1"}
TWO = {"TRANSFER_LAUNCHER": "local", "TRANSFER_WORKERS": "2"}
LONG = {"head_epochs": 60, "batch_size": 7}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small_archive):
    """Return a project whose images are split; its random base gives them different features."""
    project = Repository(tmp_path_factory.mktemp("launch") / "project")
    project.add_project()
    project.set_params(data_url=str(small_archive), **(SMALL | LONG))
    for stage in ("download", "split"):
        project.run(sys.executable, "-m", f"stages.{stage}")
    base = build_base("MobileNetV2", SMALL["image_size"])
    base.set_weights(base_weights())
    base.save_weights(project.folder / "models/base.weights.h5")
    return project.folder


@pytest.fixture
def copy(folder, tmp_path, monkeypatch):
    """Return a function that makes copies of the project, with a cache of their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def make(name="project", **params):
        shutil.copytree(folder, tmp_path / name)
        project = Repository(tmp_path / name)
        project.set_params(**params)
        return project.folder

    return make


def start(folder, stage="train_head", **environment):
    return subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}"],
        cwd=folder,
        env=os.environ | RUNTIME | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """Return what a process printed that has to end well."""
    out, error = process.communicate(timeout=240)
    assert process.returncode == 0, error
    return out


def until(process, text):
    """Read a process' lines until one has `text`."""
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f"no {text}: {process.stderr.read()}")


def outputs(folder):
    metrics = ("metrics/history_head.csv", "metrics/train_head.json")
    names = ("models/head.keras", "data/suspects.csv", *metrics)
    return [(folder / name).read_bytes() for name in names]


def by_hand(*folders):
    """Start a process in each folder, as on machines that share none."""
    processes = []
    for folder, environment in zip(folders, environments_here(len(folders)), strict=True):
        del environment[LAUNCHED]
        processes.append(start(folder, **environment))
    return processes


def test_processes_on_two_machines_of_which_one_is_killed_come_to_the_same_bytes(copy, capsys):
    undisturbed = copy("undisturbed")
    assert "2 processes share each batch" in finish(start(undisturbed, **TWO))
    first, second = copy("first"), copy("second")
    chief, other = by_hand(first, second)
    until(chief, "Epoch 5/")
    other.kill()
    killed = time.monotonic()
    said = chief.communicate(timeout=LOST_SECONDS)[1]
    with capsys.disabled():
        print(f"\nthe chief ended {time.monotonic() - killed:.1f} s after the other")
    assert (chief.returncode, other.wait()) == (1, -signal.SIGKILL)
    assert re.fullmatch("error: another process has ended .* last finished epoch\n", said)
    other.communicate()
    chief, other = by_hand(first, second)
    assert re.search("continuing an interrupted run: [0-9]+ of 60 epochs are done", finish(chief))
    assert finish(other) == ""
    assert outputs(first) == outputs(undisturbed)
    for name in ("models/head.keras", "data/suspects.csv", "metrics"):
        assert not (second / name).exists()


def test_two_processes_come_to_the_bytes_of_one_where_the_head_is_solved(copy):
    solved = {"recipe": "robust", "head_solver": "lbfgs"}
    one, two = copy("one", **solved), copy("two", **solved)
    assert "train_head: solved" in finish(start(one))
    assert "train_head: solved" in finish(start(two, **TWO))
    assert outputs(one) == outputs(two)
    said = finish(start(two, "fine_tune", **TWO))
    assert said.count("recipe robust: ") == said.count("fine_tune: from layer ") == 1
    tuned = json.loads((two / "metrics/fine_tune.json").read_text())
    assert ("fraction" in tuned) == (tuned["delivered"] == "fine-tuned")


def test_processes_with_other_parameters_are_refused(copy):
    first, second = copy("first"), copy("second", head_learning_rate=0.5)
    chief, other = by_hand(first, second)
    assert "error: process 1 has other code, data, parameters" in other.communicate(timeout=120)[1]
    assert re.fullmatch("error: another process has ended .*\n", chief.communicate()[1])
    assert (chief.returncode, other.returncode) == (1, 1)


def test_a_launchers_processes_end_with_it_and_it_ends_with_one_of_them(copy):
    folder = copy()
    launcher = start(folder, **TWO)
    until(launcher, "Epoch 3/")
    workers = psutil.Process(launcher.pid).children()
    launcher.kill()
    assert len(workers) == 2 and all(ended(worker.pid) for worker in workers)
    launcher.communicate()
    launcher = start(folder, **TWO)
    until(launcher, "continuing an interrupted run")
    children = psutil.Process(launcher.pid).children()
    (second,) = (c for c in children if '"index": 1' in c.environ()["TF_CONFIG"])
    second.kill()
    said = launcher.communicate(timeout=10)[1]
    assert launcher.returncode == 1
    assert said.endswith(
        "error: process 1 of 2 was ended by SIGKILL; run the same command again to continue after "
        "the last finished epoch\n"
    )
    assert all(ended(child.pid) for child in children)


def test_a_launcher_among_several_processes_is_refused(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TF_CONFIG", environments_here(2)[0]["TF_CONFIG"])
    for name, value in TWO.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "exit", lambda message: pytest.fail(message))
    with pytest.raises(pytest.fail.Exception, match="LAUNCHER: expected none, since TF_CONFIG"):
        run_training(lambda: None)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:port"])
def test_a_ray_cluster_that_does_not_answer_is_told_at_once(monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match=f"RAY_ADDRESS: expected .* received {address}: "):
        check_ray_address()


@pytest.mark.parametrize("address", ["", "auto", "127.0.0.1:{port}"])
def test_a_ray_address_that_answers_is_taken(monkeypatch, address):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("RAY_ADDRESS", address.format(port=server.getsockname()[1]))
        check_ray_address()


@pytest.mark.parametrize("launcher", ["srun", "ray"])
def test_other_launchers_start_the_processes(copy, launcher):
    if launcher == "ray":
        pytest.importorskip("ray", reason="no Ray here (pip install -r extras/ray.txt)")
    elif not shutil.which("srun") or subprocess.run(["srun", "--immediate=5", "true"]).returncode:
        pytest.skip("no Slurm runs here (slurm-wlm, with munged, slurmctld and slurmd)")
    local, other = copy("local", head_epochs=2), copy("other", head_epochs=2)
    assert "2 processes share each batch" in finish(
        start(other, **TWO | {"TRANSFER_LAUNCHER": launcher})
    )
    finish(start(local, **TWO))
    assert outputs(other) == outputs(local)
