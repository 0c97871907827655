"""The state of a training after each epoch, from which an interrupted run continues."""

import io
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import yaml

from transfer.core.cpu import THREADS
from transfer.core.errors import UserError
from transfer.core.files import cache_folder, files_of, hash_of, remove_unused, sha256
from transfer.core.params import Params
from transfer.core.runtime import keras
from transfer.models.inference import FROZEN_RUNTIME
from transfer.training.strategy import Replicas

LIBRARIES = ("keras", "numpy", "onnxruntime", "opencv-python-headless", "tensorflow", "tf2onnx")


class TrainingState:
    """The variables and the history of a training, in a file of the user's cache.

    It is not among the stage's outputs, which DVC removes before it runs a stage, nor in the
    workspace, which `dvc exp run --temp` removes. The file's name is a hash of all that the result
    depends on: what dvc.yaml names, the libraries, the runtime and the number of threads. So a
    changed run finds no state to continue from, and an equal one does, wherever it runs.

    Of several processes the chief has the state, and sends it to the others.
    """

    def __init__(
        self,
        stage: str,
        params: Params,
        replicas: Replicas | None = None,
        publish: Callable[[list[tuple]], None] = lambda history: None,
    ) -> None:
        """Name the file.

        Args:
            stage: Its name in dvc.yaml.
            params: Those that dvc.yaml lists for the stage are part of the hash.
            replicas: The devices that share each batch; None: a single one.
            publish: Called by the chief with the history, at the start and after each epoch.

        Raises:
            UserError: Not every process has the same parameters, code, data and libraries.
        """
        content = content_key(stage, params)
        if replicas and replicas.broadcast(content.encode()) != content.encode():
            raise UserError(
                f"process {replicas.worker} has other code, data, parameters or libraries than "
                "process 0; check out the same commit there, `dvc pull`, and run it again"
            )
        runtime = [FROZEN_RUNTIME, os.environ["TF_ENABLE_ONEDNN_OPTS"], THREADS]
        key = hash_of([content, *runtime, len(replicas) if replicas else 1])[:16]
        self.path = cache_folder() / "training" / f"{stage}-{key}.npz"
        self.replicas = replicas
        self.is_chief = not replicas or replicas.is_chief
        self._publish = publish
        self._warned = ""

    def restore(self, variables: list[keras.Variable]) -> list[tuple]:
        """Give the variables their saved values and return the saved history.

        Args:
            variables: In the order in which `save` got them.

        Returns:
            Rows of HISTORY_COLUMNS; empty if there is no state, or a damaged one.
        """
        history = self._read(variables)
        if self.is_chief:
            self._publish(history)
        return history

    def _read(self, variables: list[keras.Variable]) -> list[tuple]:
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
        """Replace the state so that it survives a power failure; warn if it can't be written.

        The history is published first.

        Args:
            variables: Of the trainer and its optimizer.
            history: Rows of HISTORY_COLUMNS.
        """
        if not self.is_chief:
            return
        self._publish(history)
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
            self._warn(f"an interrupted run could not continue from here on: {error}")

    def _warn(self, text: str) -> None:
        """Print a warning, but not the same one after every epoch."""
        if text != self._warned:
            print(f"warning: {text}")
        self._warned = text

    def remove(self) -> None:
        """Remove the state, once the results are written, and any state after a month."""
        with suppress(OSError):  # the folder may be read-only
            self.path.unlink(missing_ok=True)
        remove_unused(self.path.parent)


def content_key(stage: str, params: Params) -> str:
    """Return a hash of the stage's parameters, code and data, and of the libraries.

    Args:
        stage: Its name in dvc.yaml, which lists what it depends on.
        params: Their values.
    """
    declared = yaml.safe_load(Path("dvc.yaml").read_text())["stages"][stage]
    files = [file for dep in declared["deps"] for file in files_of(Path(dep))]
    parts = {
        "params": {name: getattr(params, name) for name in declared["params"]},
        "files": {str(file): sha256(file) for file in files},
        "libraries": library_versions(),
    }
    return hash_of(parts)


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that the result of a training depends on."""
    return {d.name: d.version for d in distributions() if d.name in LIBRARIES}
