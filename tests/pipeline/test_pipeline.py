"""The whole pipeline through the real dvc command, as a user types it."""

import csv
import json
import re
import shutil
from functools import partial

import numpy as np
import pytest
import yaml

from tests.helpers.repository import ran
from transfer.data.dataset import load_split

STAGES = ["download", "split", "train_head", "fine_tune", "evaluate", "plot"]
# From block_13_depthwise up, with gamma and beta but no moving statistics, and the head's 1,281.
TRAINABLE_FROM_120 = 1_626_177
slow = partial(pytest.param, marks=pytest.mark.slow)


def metrics_of(repository, name):
    return json.loads((repository.folder / f"metrics/{name}.json").read_text())


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_repro_writes_everything_that_dvc_yaml_names(repository):
    for out in yaml.safe_load((repository.folder / "dvc.lock").read_text())["stages"].values():
        assert all((repository.folder / entry["path"]).exists() for entry in out["outs"])
    plots = {path.stem for path in (repository.folder / "plots").iterdir()}
    assert plots >= {"learning_curves", "confusion_matrix", "mistakes", "augmentation", "suspects"}
    assert not list(repository.folder.rglob(".partial-*"))


def test_splits_are_disjoint_and_a_broken_picture_is_rejected(repository):
    split = repository.folder / "data/split"
    manifest = rows_of(split / "manifest.csv")
    assert len(manifest) == len({row["sha256"] for row in manifest}) == 40
    counts = [sum(row["split"] == name for row in manifest) for name in ("train", "val", "test")]
    assert counts == [24, 8, 8]
    assert load_split(split, "train").images.shape == (40, 32, 32, 3)
    rejected, stray = rows_of(split / "rejected.csv")
    assert (stray["path"], stray["kind"]) == ("pets/readme.txt", "not images")
    assert rejected["path"] == "cats/broken.jpg"
    assert "cannot identify" in rejected["reason"]


def test_metrics_hold_what_others_rely_on(repository):
    of_training = {"val_accuracy", "val_loss", "epochs", "trainable_parameters", "cpu"}
    assert set(metrics_of(repository, "train_head")) == of_training
    assert set(metrics_of(repository, "fine_tune")) == of_training | {
        "first_layer",
        "learning_rate",
        "threads",
        "delivered",
        "fraction",
        "familiar_from",
        "val_unfamiliar",
    }
    scores = metrics_of(repository, "evaluate")
    assert scores["accuracy_low"] < scores["accuracy"] < scores["accuracy_high"]
    assert {"accuracy", "loss", "roc_auc"} <= {name.removeprefix("head_") for name in scores}
    every = {row["score"]: row for row in rows_of(repository.folder / "metrics/scores.csv")}
    assert {"precision", "recall", "f1", "average_precision", "brier"} <= set(every)
    assert float(every["loss"]["head"]) == scores["head_loss"]
    assert float(every["loss"]["fine-tuned"]) == scores["loss"]
    predictions = rows_of(repository.folder / "metrics/predictions.csv")
    right = sum(row["label"] == row["prediction"] for row in predictions)
    assert right / len(predictions) == scores["accuracy"]
    limit = metrics_of(repository, "fine_tune")["familiar_from"]
    unfamiliar = sum(float(row["familiarity"]) < limit for row in predictions)
    assert unfamiliar / len(predictions) == scores["unfamiliar"]
    head, both = (
        rows_of(repository.folder / f"metrics/{name}.csv") for name in ("history_head", "history")
    )
    assert [row["epoch"] for row in both] == ["1", "2"]
    assert both[:1] == head


def test_second_repro_does_nothing(repository):
    assert ran(repository.dvc("repro")) == []


@pytest.mark.slow
def test_without_suspects_the_head_is_the_same_and_the_table_empty(repository):
    outs = ("models/head.keras", "metrics/history_head.csv", "metrics/train_head.json")
    before = [(repository.folder / name).read_bytes() for name in outs]
    table = repository.folder / "data/suspects.csv"
    header = "path,sha256,split,kind,label,suggested,probability,score,other\n"
    assert table.read_text().startswith(header)
    output = repository.dvc("exp", "run", "-S", "suspects=false")
    assert "train_head" in ran(output) and "second look" not in output
    assert [(repository.folder / name).read_bytes() for name in outs] == before
    assert table.read_text() == header
    repository.restore()


def test_fine_tune_at_reruns_fine_tuning_and_what_follows(repository):
    output = repository.dvc(
        *("exp", "run", "-S", "fine_tune_at=120", "-S", "fine_tune_learning_rate=1e-6")
    )
    assert ran(output) == ["fine_tune", "evaluate", "plot"]
    assert "1e-06" in (repository.folder / "params.yaml").read_text()
    tuned = metrics_of(repository, "fine_tune")
    assert tuned["trainable_parameters"] == TRAINABLE_FROM_120
    repository.restore()


@pytest.mark.slow
def test_the_robust_recipe_solves_the_head_and_says_what_is_set_instead(repository):
    changes = ("recipe=robust", "head_solver=lbfgs", "fine_tune_at=120")
    output = repository.dvc("exp", "run", *(part for change in changes for part in ("-S", change)))
    assert ran(output) == STAGES[1:]
    own = "image_size 32, head_epochs 1, fine_tune_epochs 1, fine_tune_at 120"
    assert f"set instead: {own}" in output
    assert "train_head: solved, 1,281 trainable parameters" in output
    assert "fine_tune: from layer 120 of 154, block_13_depthwise" in output
    assert metrics_of(repository, "train_head")["epochs"] == 0
    tuned = metrics_of(repository, "fine_tune")
    assert tuned["first_layer"] == 120
    assert tuned["learning_rate"] == 0.00015  # 0.001 * (24 / 1,000) ** 0.5
    assert tuned["delivered"] == ("fine-tuned" if tuned["fraction"] else "head")
    assert tuned["fraction"] in (0, 0.25, 0.5, 0.75, 1)
    assert tuned["temperature"] > 0
    scores = metrics_of(repository, "evaluate")
    assert scores["uncalibrated_loss"] != scores["loss"]
    history = rows_of(repository.folder / "metrics/history.csv")
    assert [row["epoch"] for row in history] == ["0", "1"]
    card = (repository.folder / "models/model_card.md").read_text()
    assert "By the recipe `robust`." in card
    assert "| first trained layer of the base | none | 120 |" in card
    assert "| trained by | L-BFGS | Adam |" in card
    assert "| learning rate |  | 0.00015 |" in card
    assert "| epochs | to convergence | 1 |" in card
    repository.restore()


@pytest.mark.slow
def test_the_heads_model_is_delivered_where_fine_tuning_makes_it_worse(repository):
    output = repository.dvc("exp", "run", "-S", "fine_tune_learning_rate=0.3")
    names = ("train_head", "fine_tune", "evaluate")
    head, tuned, scores = (metrics_of(repository, name) for name in names)
    models = repository.folder / "models"
    assert (models / "model.keras").read_bytes() == (models / "head.keras").read_bytes()
    assert tuned["delivered"] == "head"
    assert (tuned["val_accuracy"], tuned["val_loss"]) == (head["val_accuracy"], head["val_loss"])
    assert rows_of(repository.folder / "metrics/history.csv")[1]["val_loss"] != head["val_loss"]
    assert (scores["accuracy"], scores["loss"]) == (scores["head_accuracy"], scores["head_loss"])
    assert "fine_tune: the head alone is not surpassed (validation accuracy " in output
    assert "too few pictures" not in output
    repository.restore()


@pytest.mark.slow
def test_views_are_stored_once_and_trained_on_by_every_experiment_after(
    repository, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    changes = ("views=1", "views_at=block_13_expand", "fine_tune_at=120")
    output = repository.dvc("exp", "run", *(part for change in changes for part in ("-S", change)))
    assert ran(output) == STAGES[2:]
    assert output.count("views: stored the features of 1 views of 24 images") == 2
    arrays = [np.load(path) for path in tmp_path.glob("transfer-learning/views/*/*.npy")]
    widths = (1280, 96 * 2 * 2)  # of the whole base, and of block_13_expand's input at 32 pixels
    assert sorted(a.shape for a in arrays) == sorted((n, w) for n in (24, 8) for w in widths)
    output = repository.dvc("exp", "run", "-S", "head_learning_rate=0.001")
    assert ran(output) == STAGES[2:]
    assert "views: stored" not in output
    repository.restore()


@pytest.mark.slow
def test_another_backbone_is_trained_from_a_layer_of_its_own(repository):
    changes = ("backbone=MobileNetV3Small", "fine_tune_at=expanded_conv_10_project")
    output = repository.dvc("exp", "run", *(part for change in changes for part in ("-S", change)))
    assert ran(output) == [stage for stage in STAGES if stage != "split"]
    assert "weights of MobileNetV3Small: random" in output
    tuned = metrics_of(repository, "fine_tune")
    assert (
        tuned["trainable_parameters"]
        > json.loads((repository.folder / "metrics/train_head.json").read_text())[
            "trainable_parameters"
        ]
    )
    repository.restore()


@pytest.mark.slow
def test_image_size_reruns_split_and_what_follows(repository):
    assert ran(repository.dvc("exp", "run", "-S", "image_size=40")) == STAGES[1:]
    repository.restore()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("fine_tune_at=block_99", "no layer of that name"),
        ("head_epochs=ten", "head_epochs: input should be a valid integer.*received 'ten'"),
        slow("fine_tune_at=9999", "index must be from 0 to 153; received 9999"),
        slow("fine_tune_at=-3", "fine_tune_at: input should be greater than or equal to 0.*-3"),
        slow("test_fraction=1.5", "test_fraction: input should be less than 1; received 1.5"),
    ],
)
def test_mistakes_are_refused_with_one_line_and_lose_nothing(repository, change, message):
    output = repository.dvc("exp", "run", "-S", change, check=False)
    assert re.search(f"^error: .*{message}", output, re.MULTILINE), output
    assert "Traceback" not in output
    repository.restore()


def test_dvc_refuses_a_mistyped_key(repository):
    output = repository.dvc("exp", "run", "-S", "fine_tun_at=3", check=False)
    assert "Could not override 'fine_tun_at'" in output
    assert repository.run("git", "status", "--short").stdout == ""


def test_a_layer_that_is_not_there_is_refused_before_the_head_is_trained(repository):
    output = repository.dvc(
        *("exp", "run", "-S", "head_epochs=2", "-S", "fine_tune_at=9999"), check=False
    )
    assert ran(output) == ["train_head"]
    assert "index must be from 0 to 153; received 9999" in output
    assert "val_accuracy" not in output
    repository.restore()


def test_a_class_that_cannot_be_read_is_an_error_and_the_old_split_can_be_checked_out(
    repository, tmp_path
):
    for label in ("cats", "dogs"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.jpg").write_bytes(label.encode())
    output = repository.dvc("exp", "run", "-S", f"data_url={tmp_path}", check=False)
    assert "error: none of the images of cats, dogs can be used; the first, cats/1.jpg: " in output
    assert "Traceback" not in output
    repository.restore()
    assert len(rows_of(repository.folder / "data/split/manifest.csv")) == 40


@pytest.mark.slow
def test_another_clone_gets_the_same_bytes(repository, make_small_repository):
    other = make_small_repository()
    # The report names the archive, and where tests run at a time each process has its own.
    shutil.copy(repository.folder / "params.yaml", other.folder)
    other.dvc("repro")
    assert other.hashes() == repository.hashes()
