"""Fine-tune the layers of the base from `fine_tune_at` up, together with the head."""

import shutil
import time

from transfer.core.files import (
    FINE_TUNE_FEATURES,
    HEAD_MODEL,
    HISTORY,
    HISTORY_HEAD,
    MODEL,
    SPLIT,
    read_csv,
    replacing,
    write_csv,
)
from transfer.core.params import Params, load_params
from transfer.core.runtime import keras
from transfer.data.dataset import Split, load_split
from transfer.models.backbones import layer_index
from transfer.models.classifier import load_model, read_description, save_model, unfreeze
from transfer.training.augmentation import Augmentation, build_augmentation
from transfer.training.features import Features, compute_features, load_features
from transfer.training.launch import run_training
from transfer.training.loop import HISTORY_COLUMNS, fit, kept_epoch, report
from transfer.training.optimizers import build_optimizer
from transfer.training.resume import TrainingState
from transfer.training.strategy import build_replicas
from transfer.training.targets import Targets, training_targets


def main() -> None:
    started = time.monotonic()
    params = load_params()
    replicas = build_replicas(params)
    train, val = load_split(SPLIT, "train"), load_split(SPLIT, "val")
    classifier = load_model(HEAD_MODEL)
    base = classifier.get_layer("base")
    names = [layer.name for layer in base.layers]
    first = layer_index("fine_tune_at", params.fine_tune_at, names)
    unfreeze(base, first)
    head_history = [tuple(map(float, row.values())) for row in read_csv(HISTORY_HEAD)]
    augmentation = build_augmentation(params)
    state = TrainingState("fine_tune", params, replicas)
    history = fit(
        classifier,
        build_optimizer(
            keras.optimizers.RMSprop,
            params.fine_tune_learning_rate,
            params.fine_tune_epochs,
            len(train.labels),
            params,
        ),
        get_features(classifier, train, val, first, augmentation, params),
        (training_targets(train, augmentation, params), Targets(val)),
        params.batch_size,
        params.seed,
        params.fine_tune_epochs,
        first_epoch=len(head_history) + 1,
        patience=params.early_stopping,
        state=state,
        replicas=replicas,
    )
    rows = [(int(epoch), *scores) for epoch, *scores in (*head_history, *history)]
    write_csv(HISTORY, HISTORY_COLUMNS, rows)
    tuned, head = (kept_epoch(rows, params.early_stopping) for rows in (history, head_history))
    if quality(tuned) >= quality(head):
        save_model(classifier, MODEL, read_description(HEAD_MODEL))
        report("fine_tune", classifier, len(history), tuned, started, delivered="fine-tuned")
    else:
        with replacing(MODEL) as temporary:
            shutil.copyfile(HEAD_MODEL, temporary)
        *_, accuracy, loss = head
        of_head = {"delivered": "head", "val_accuracy": accuracy, "val_loss": loss}
        report("fine_tune", classifier, len(history), tuned, started, **of_head)
        print(
            f"fine_tune: the head alone was better (validation accuracy {accuracy:.4f}, loss "
            f"{loss:.4f}), so {MODEL} is the head's model; lower fine_tune_learning_rate, or raise "
            "fine_tune_at"
        )
    state.remove()


def get_features(
    classifier: keras.Model,
    train: Split,
    val: Split,
    first: int,
    augmentation: Augmentation,
    params: Params,
) -> Features:
    """Return stored features where the layers to train lie above them, else from the pictures."""
    if params.views:
        names = [layer.name for layer in classifier.get_layer("base").layers]
        views_at = layer_index("views_at", params.views_at, names)
        if first >= views_at:
            return load_features(
                classifier, train, val, FINE_TUNE_FEATURES, views_at, params.precision
            )
    return compute_features(classifier, train, val, augmentation, params.precision)


def quality(row: tuple) -> tuple[float, float]:
    """Return what is greater for the better row of a history: accuracy, then the loss's lack."""
    *_, val_accuracy, val_loss = row
    return val_accuracy, -val_loss


if __name__ == "__main__":
    run_training(main)
