"""Nothing that the project uses writes down or sends what it is used for."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from tests.helpers.project import PROJECT, imported_modules, project_files

# Runs a model in ONNX Runtime, which has telemetry unless its environment says otherwise.
RUN = """
import transfer.core
import sys, time
import numpy as np, onnx, onnxruntime
from onnx import helper
x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "graph", [x], [y])
opset = helper.make_opsetid("", 17)
model = helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString()
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
print(session.run(None, {"x": np.ones(1, np.float32)}))
time.sleep(int(sys.argv[1]))
"""

# Logs a score to MLflow, which sends what it is used for unless its environment says otherwise.
LOG = """
import transfer.core
import mlflow
with mlflow.start_run():
    mlflow.log_metric("loss", 0.5)
"""


def run(home, *before, seconds=0):
    """Run the model with an empty home and wait; `before` is a program that runs Python."""
    environment = {name: v for name, v in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": "", "PYTHONPATH": str(PROJECT)}
    command = [*before, sys.executable, "-c", RUN, str(seconds)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout == "[array([-1.], dtype=float32)]\n", done.stderr


def test_onnx_runtime_writes_nothing_to_the_home(tmp_path):
    run(tmp_path)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_onnx_runtime_asks_nobody(tmp_path):
    (tmp_path / "home").mkdir()
    log = tmp_path / "log"
    strace = ("strace", "-f", "-e", "trace=socket,connect", "-o", str(log))
    run(tmp_path / "home", *strace, seconds=15)  # telemetry asked for its host after 10
    assert "exited with 0" in log.read_text()
    assert re.findall(".*AF_INET.*", log.read_text()) == []


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_mlflow_asks_nobody_and_writes_no_identifier(tmp_path):
    pytest.importorskip("mlflow", reason="pip install -r extras/mlflow.txt")
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    # In the environment of a CI service or of pytest, MLflow sends nothing anyway.
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    done = subprocess.run(  # urllib3 opens a socket to see whether there is IPv6, and connects none
        ["strace", "-f", "-e", "trace=connect,sendto", "-o", tmp_path / "log"]
        + [sys.executable, "-c", LOG],
        cwd=work,
        env=kept | {"HOME": str(home), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (work / "mlflow.db").exists()
    assert re.findall(".*AF_INET.*", (tmp_path / "log").read_text()) == []
    assert list(home.rglob("*")) == []


@pytest.mark.parametrize("library", ["mlflow", "onnxruntime", "ray"])
def test_who_imports_them_has_switched_them_off(library):
    users = [
        name
        for name in project_files()
        if name.endswith(".py") and library in imported_modules(PROJECT / name)
    ]
    assert users
    for name in users:
        own = {module for module in imported_modules(PROJECT / name) if "transfer" in module}
        assert any(module.startswith("transfer.core") for module in own), name


def test_dvc_and_streamlit_send_nothing():
    dvc = configparser.ConfigParser()
    dvc.read(PROJECT / ".dvc/config")
    assert (dvc["core"]["analytics"], dvc["core"]["check_update"]) == ("false", "false")
    streamlit = tomllib.loads((PROJECT / ".streamlit/config.toml").read_text())
    assert streamlit["browser"]["gatherUsageStats"] is False
