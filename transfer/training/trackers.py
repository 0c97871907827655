"""Log a run of the pipeline to TensorBoard or MLflow, if TRANSFER_TRACKERS names them.

Nothing that a stage writes depends on it. All stages of a run log to the same place, the training
after each epoch. docs/sharing.md says what is logged, and where.
"""

import atexit
import importlib.util
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from transfer.core import PARENT
from transfer.core.errors import UserError, did_you_mean, one_line, printable, shown

if TYPE_CHECKING:  # TensorFlow takes seconds to load, and most runs have no tracker
    from transfer.core.runtime import keras

TRACKERS, RUN = "TRANSFER_TRACKERS", "TRANSFER_RUN"  # a launcher's processes inherit both
FOLDER = "TENSORBOARD_LOGGING_DIR"  # as Hugging Face's Trainer calls it
# By themselves they would wait for minutes for a server that does not answer.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
Scores = dict[str, object]  # by name; what is no number is not logged
Epoch = tuple[int, Scores]  # its number, from 1 (0 is a solved head), and its scores


class TensorBoard:
    """Writes event files, which `tensorboard --logdir` shows."""

    def __init__(self, run: str) -> None:
        self.folder = Path(os.environ.get(FOLDER) or "logs") / run

    def start(self, parameters: dict) -> None:
        """Write the parameters, unless an earlier stage of the run has."""
        from tensorboard.plugins.hparams import api

        from transfer.core.runtime import tf

        if not self.folder.exists():
            with tf.summary.create_file_writer(str(self.folder)).as_default():
                api.hparams({name: "" if v is None else v for name, v in parameters.items()})

    def callback(self, before: Epoch | None) -> "keras.callbacks.Callback":
        """Return what logs each epoch, after the scores before the first one."""
        from transfer.core.runtime import keras

        library = keras.callbacks.TensorBoard
        return _careful(library, "tensorboard", before, log_dir=self.folder, write_graph=False)

    def log(self, scores: dict[str, float], images: Sequence[Path]) -> None:
        """Write scores and PNG files."""
        from transfer.core.runtime import tf

        with tf.summary.create_file_writer(str(self.folder)).as_default(step=0):
            for name, value in scores.items():
                tf.summary.scalar(name, value)
            for path in images:
                tf.summary.image(path.stem, tf.io.decode_png(path.read_bytes())[None])


class MLflow:
    """Logs to where MLflow's own variables say, such as MLFLOW_TRACKING_URI."""

    def __init__(self, run: str) -> None:
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        import mlflow

        self.run, self.mlflow = run, mlflow

    def start(self, parameters: dict) -> None:
        """Open the run, the one that an earlier stage began or a new one with these parameters."""
        if self.mlflow.active_run():
            return
        found = self.mlflow.search_runs(
            filter_string=f"attributes.run_name = '{self.run}'", output_format="list"
        )
        run_id = found[0].info.run_id if found else None
        self.mlflow.start_run(run_id=run_id, run_name=self.run)
        atexit.register(self._fail)
        if not found:
            self.mlflow.log_params(parameters)

    def _fail(self) -> None:
        """Mark a run that nobody has ended as failed; MLflow itself would call it finished."""
        with suppress(Exception):
            self.mlflow.end_run("FAILED")

    def callback(self, before: Epoch | None) -> "keras.callbacks.Callback":
        """Return what logs each epoch, after the scores before the first one."""
        from mlflow.keras import MlflowCallback

        return _careful(MlflowCallback, "mlflow", before)

    def log(self, scores: dict[str, float], images: Sequence[Path]) -> None:
        """Log scores and files, and end the run for this stage."""
        self.mlflow.flush_async_logging()
        self.mlflow.log_metrics(scores)
        for path in images:
            self.mlflow.log_artifact(str(path), "plots")
        self.mlflow.end_run()


KINDS = {"tensorboard": TensorBoard, "mlflow": MLflow}


def _careful(
    library: "type[keras.callbacks.Callback]",
    tracker: str,
    before: Epoch | None,
    **options: object,
) -> "keras.callbacks.Callback":
    """Return a library's callback that counts epochs from 1, as the history does.

    It logs the scores of an epoch only, and whatever fails, the training goes on.

    Args:
        library: Its class.
        tracker: For the warning.
        before: As for `start_trackers`.
        options: Arguments of the class.
    """

    class Careful(library):
        def on_train_begin(self, logs: dict | None = None) -> None:
            if before:
                with _only_warn(tracker):
                    super().on_epoch_end(*before)

        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            with _only_warn(tracker):
                super().on_epoch_end(epoch + 1, logs)

        def on_test_begin(self, logs: dict | None = None) -> None:
            pass  # the validation, whose scores are among those of the epoch

        def on_test_end(self, logs: dict | None = None) -> None:
            pass

        def on_train_end(self, logs: dict | None = None) -> None:
            with _only_warn(tracker):
                super().on_train_end(logs)

    return Careful(**options)


def check_trackers() -> list[str]:
    """Return the names of the trackers, and name the run for all processes of this stage.

    Raises:
        UserError: TRANSFER_TRACKERS names another one, or one that is not installed.
    """
    names = [name.strip() for name in os.environ.get(TRACKERS, "").split(",") if name.strip()]
    for name in names:
        if name not in KINDS:
            raise UserError(
                f"{TRACKERS}: expected some of {', '.join(KINDS)}, with commas between them; "
                f"received {shown(name)}{did_you_mean(name, list(KINDS))}"
            )
        if not importlib.util.find_spec(name):
            raise UserError(
                f"{TRACKERS}: {name} is not installed; pip install -r extras/{name}.txt, or leave "
                "it out"
            )
    if names:
        os.environ.setdefault(RUN, run_name())
    return names


def run_name() -> str:
    """Return the experiment's name, if any, and when DVC was started: all its stages share both."""
    started = psutil.Process(PARENT).create_time() if "DVC_STAGE" in os.environ else time.time()
    parts = os.environ.get("DVC_EXP_NAME"), time.strftime("%Y%m%d-%H%M%S", time.localtime(started))
    return re.sub(r"[^\w.-]", "_", "-".join(filter(None, parts)))


def start_trackers(
    parameters: dict, before: Epoch | None
) -> "tuple[keras.callbacks.Callback, ...]":
    """Open the trackers and return the callbacks that log each epoch.

    Args:
        parameters: All parameters by name.
        before: The epoch before the first one, which is logged too; None: there is none.

    Raises:
        UserError: A tracker can't be reached.
    """
    return tuple(_start(name, parameters, before) for name in check_trackers())


def _start(name: str, parameters: dict, before: Epoch | None) -> "keras.callbacks.Callback":
    try:
        tracker = KINDS[name](os.environ[RUN])
        tracker.start(parameters)
        return tracker.callback(before)
    except Exception as error:  # each library raises something else
        raise UserError(
            f"{TRACKERS}: {name} can't log: {printable(one_line(error))}; mend it, or leave it out"
        ) from None


def log_scores(
    stage: str, scores: Scores, images: Sequence[Path] = (), parameters: dict | None = None
) -> None:
    """Log what a stage found out; where that fails, say so and go on.

    Args:
        stage: Its name comes before those of the scores.
        scores: By name.
        images: PNG files.
        parameters: All parameters by name, of a run that may not be open; None: it is.
    """
    numbers = {
        f"{stage}/{name}": float(value)
        for name, value in scores.items()
        if isinstance(value, (int, float))
    }
    for name in check_trackers():
        with _only_warn(name):
            tracker = KINDS[name](os.environ[RUN])
            if parameters is not None:
                tracker.start(parameters)
            tracker.log(numbers, images)


@contextmanager
def _only_warn(tracker: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # each library raises something else
        print(f"warning: {tracker} can't log: {printable(one_line(error))}; the stage goes on")
