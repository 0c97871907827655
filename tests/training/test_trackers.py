import os
import shutil
import sys
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from transfer.core import PARENT
from transfer.core.errors import UserError
from transfer.core.runtime import keras
from transfer.training.trackers import check_trackers, log_scores, start_trackers

PARAMS = {"seed": 0, "dropout": 0.2, "suspects": True, "flip": "none", "group_pattern": None}
BEFORE = {"accuracy": 0.25, "loss": 2.0, "val_accuracy": 0.125, "val_loss": 4.0}
SCORES = {"accuracy": 0.75, "epochs": 2, "delivered": "head"}
# MLflow uses SQLAlchemy in ways that will be removed some day.
SQL = pytest.mark.filterwarnings("ignore::DeprecationWarning")
MLFLOW = pytest.param("mlflow", marks=[pytest.mark.slow, SQL])


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("DVC_", "MLFLOW_T", "MLFLOW_E", "TENSORBOARD_", "TRANSFER_RUN")):
            monkeypatch.delenv(name)
    yield tmp_path
    os.environ.pop("TRANSFER_RUN", None)


@pytest.fixture
def use(monkeypatch):
    """Return a function that switches a tracker on, and says when it isn't installed."""

    def switch_on(name):
        pytest.importorskip(name, reason=f"pip install -r extras/{name}.txt")
        monkeypatch.setenv("TRANSFER_TRACKERS", name)

    return switch_on


def train(callbacks):
    """Train a tiny model for two epochs; return its scores by name, and its weights."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mse", metrics=["accuracy"], jit_compile=False)
    x, y = np.eye(2), np.ones((2, 1))
    fitted = model.fit(x, y, validation_data=(x, y), epochs=2, callbacks=callbacks, verbose=0)
    return fitted.history, [weight.tobytes() for weight in model.get_weights()]


def read_tensorboard():
    """Return scalars by name, each with its steps and values; parameters; names of images."""
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
    from tensorboard.plugins.hparams import metadata
    from tensorboard.util.tensor_util import make_ndarray

    runs = EventMultiplexer().AddRunsFromDirectory("logs").Reload()
    scalars, images = {}, []
    for run in runs.Runs():
        events = runs.GetAccumulator(run)
        for tag in events.Tags()["tensors"]:
            plugin = events.SummaryMetadata(tag).plugin_data.plugin_name
            if plugin == "scalars":
                prefix = "val_" if run.endswith("/validation") else ""
                scalars[prefix + tag.removeprefix("epoch_")] = [
                    (event.step, float(make_ndarray(event.tensor_proto)))
                    for event in events.Tensors(tag)
                ]
            elif plugin == "images":
                images.append(tag)
    (run,) = os.listdir("logs")
    (content,) = runs.GetAccumulator(run).PluginTagToContent("hparams").values()
    found = metadata.parse_session_start_info_plugin_data(content).hparams
    values = {name: value.WhichOneof("kind") for name, value in found.items()}
    params = {name: str(getattr(found[name], kind)) for name, kind in values.items()}
    return scalars, params, images


def read_mlflow():
    """Return the same of what MLflow stored."""
    from mlflow import MlflowClient

    client = MlflowClient()
    (run,) = client.search_runs(["0"])
    assert (run.info.run_name, run.info.status) == (os.environ["TRANSFER_RUN"], "FINISHED")
    history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    scalars = {
        name: sorted((metric.step, metric.value) for metric in metrics)
        for name, metrics in history.items()
    }
    images = [os.path.basename(f.path) for f in client.list_artifacts(run.info.run_id, "plots")]
    return scalars, run.data.params, [image.removesuffix(".png") for image in images]


@pytest.mark.parametrize("tracker", ["tensorboard", MLFLOW])
def test_epochs_scores_parameters_and_images_are_logged_and_change_nothing(tracker, use, here):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(here / "curves.png")
    untracked = train([])
    use(tracker)
    history, weights = train(list(start_trackers(PARAMS, (0, BEFORE))))
    assert (history, weights) == untracked
    log_scores("fine_tune", SCORES)
    log_scores("test", SCORES, [here / "curves.png"], PARAMS)  # as another process does, `plot`

    scalars, params, images = {"tensorboard": read_tensorboard, "mlflow": read_mlflow}[tracker]()
    for name, values in history.items():
        expected = enumerate([BEFORE[name], *values])
        np.testing.assert_allclose(scalars.pop(name), list(expected), atol=1e-6)
    scalars.pop("learning_rate", None)  # which only TensorBoard's callback logs
    stages = ("fine_tune", "test")
    logged = {f"{stage}/{name}" for stage in stages for name in ("accuracy", "epochs")}
    assert set(scalars) == logged
    assert scalars["test/accuracy"] == [(0, 0.75)]
    assert params.keys() == PARAMS.keys()
    assert (float(params["dropout"]), params["flip"], params["suspects"]) == (0.2, "none", "True")
    assert images == ["curves"]


def test_by_default_nothing_is_logged(here):
    assert check_trackers() == [] and start_trackers(PARAMS, None) == ()
    log_scores("test", SCORES, parameters=PARAMS)
    assert list(here.iterdir()) == [] and "TRANSFER_RUN" not in os.environ


def test_a_mistyped_tracker_and_one_that_is_not_installed_are_refused(monkeypatch):
    monkeypatch.setenv("TRANSFER_TRACKERS", "tensorboard, mlfow")
    with pytest.raises(UserError, match=r"received 'mlfow' \(did you mean mlflow\?\)"):
        check_trackers()
    monkeypatch.setenv("TRANSFER_TRACKERS", "mlflow")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UserError, match="pip install -r extras/mlflow.txt"):
        check_trackers()


def test_a_tracker_that_fails_ends_a_training_only_before_it_begins(use, here, capsys):
    use("tensorboard")
    callbacks = start_trackers(PARAMS, None)
    shutil.rmtree("logs")
    (here / "logs").write_text("no folder")
    history, _ = train(list(callbacks))
    assert len(history["loss"]) == 2
    log_scores("test", SCORES, parameters=PARAMS)
    assert capsys.readouterr().out.count("warning: tensorboard can't log: ") >= 3
    with pytest.raises(UserError, match="TRANSFER_TRACKERS: tensorboard can't log: .*logs"):
        start_trackers(PARAMS, None)


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_found_before_the_training(use, monkeypatch):
    use("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    started = time.monotonic()
    with pytest.raises(UserError, match="TRANSFER_TRACKERS: mlflow can't log: .*127.0.0.1"):
        start_trackers(PARAMS, None)
    assert time.monotonic() - started < 30


def test_the_stages_of_a_run_have_one_name(use, monkeypatch):
    use("tensorboard")
    monkeypatch.setenv("DVC_STAGE", "fine_tune")
    check_trackers()
    started = time.localtime(psutil.Process(PARENT).create_time())
    by_repro = time.strftime("%Y%m%d-%H%M%S", started)
    assert os.environ.pop("TRANSFER_RUN") == by_repro
    monkeypatch.setenv("DVC_EXP_NAME", "../a b")
    check_trackers()
    assert os.environ["TRANSFER_RUN"] == f".._a_b-{by_repro}"
