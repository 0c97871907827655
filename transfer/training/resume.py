"""The state of a training after each epoch, for a run that was interrupted to go on from."""

import hashlib
import io
import json
import os
import time
import zipfile
from contextlib import suppress
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import yaml

from transfer.core.errors import UserError
from transfer.core.files import cache_folder, list_files, sha256
from transfer.core.parallel import CORES
from transfer.core.params import Params
from transfer.core.runtime import FROZEN_RUNTIME, keras
from transfer.training.strategy import Replicas

LIBRARIES = ("keras", "numpy", "onnxruntime", "opencv-python-headless", "tensorflow", "tf2onnx")
# TensorFlow's: it adds up gradients in as many parts.
THREADS = os.environ.get("TF_NUM_INTRAOP_THREADS", CORES)
KEPT_SECONDS = 30 * 24 * 3600  # of a run that nobody went on with


class TrainingState:
    """The variables and the history of a training, in a file of the user's cache.

    Not among the stage's outputs, which DVC removes before it runs a stage, nor in the workspace,
    which `dvc exp run --temp` has for a while only. The file's name is a hash of all that the
    result depends on: what dvc.yaml names, the libraries and the engine. So a changed run finds no
    state to go on from, and an equal one does, wherever it runs.

    Of several processes the chief has the state, and the others begin with what it sends them.
    """

    def __init__(self, stage: str, params: Params, replicas: Replicas | None = None):
        """Name the file.

        Raises:
            UserError: Not every process has the same parameters, code, data and libraries.
        """
        content = content_key(stage, params)
        if replicas and replicas.broadcast(content.encode()) != content.encode():
            raise UserError(
                f"process {replicas.worker} has other code, data, parameters or libraries than "
                "process 0; bring it to the same commit, `dvc pull` there, and run it again"
            )
        engine = [FROZEN_RUNTIME, os.environ["TF_ENABLE_ONEDNN_OPTS"], THREADS]
        key = _hash([content, *engine, len(replicas) if replicas else 1])[:16]
        self.path = cache_folder() / "training" / f"{stage}-{key}.npz"
        self.replicas = replicas

    def restore(self, variables: list[keras.Variable]) -> list[tuple]:
        """Give the variables the values that they had; return the history, empty if there is none.

        A damaged file counts as none.
        """
        content = b""
        with suppress(OSError):
            content = self.path.read_bytes()
        if self.replicas:
            content = self.replicas.broadcast(content)
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as saved:  # noqa: TID251
                history = [(int(epoch), *scores) for epoch, *scores in saved["history"].tolist()]
                values = [saved[str(index)] for index in range(len(variables))]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return []
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return history

    def save(self, variables: list[keras.Variable], history: list[tuple]) -> None:
        """Replace the state, so that it outlives a loss of power; say where it can't be."""
        if self.replicas and not self.replicas.is_chief:
            return
        arrays = {str(i): keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)}
        temporary = self.path.with_suffix(f".{os.getpid()}")  # an equal run may be under way
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                np.savez(file, history=np.array(history, float), **arrays)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self.path)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            print(f"warning: an interrupted run could not go on from here: {error}")

    def remove(self) -> None:
        """Remove the state of a training whose results are written, and others after a month."""
        with suppress(OSError):  # where none could be written, none is
            self.path.unlink(missing_ok=True)
            for old in self.path.parent.iterdir():
                if time.time() - old.stat().st_mtime > KEPT_SECONDS:
                    old.unlink(missing_ok=True)


def content_key(stage: str, params: Params) -> str:
    """Return a hash of the stage's parameters, code and data, and of the libraries."""
    declared = yaml.safe_load(Path("dvc.yaml").read_text())["stages"][stage]
    files = [file for dep in declared["deps"] for file in _files(Path(dep))]
    parts = {
        "params": {name: getattr(params, name) for name in declared["params"]},
        "files": {str(file): sha256(file) for file in files},
        "libraries": {d.name: d.version for d in distributions() if d.name in LIBRARIES},
    }
    return _hash(parts)


def _hash(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _files(dependency: Path) -> list[Path]:
    if dependency.is_dir():
        return [dependency / name for name in list_files(dependency)]
    return [dependency]
