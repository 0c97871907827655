"""Fine-tune the layers of the base from `fine_tune_at` up, together with the head."""

import shutil
import time

from transfer.core.cpu import THREADS
from transfer.core.files import (
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
from transfer.core.processes import read_launch
from transfer.core.runtime import keras
from transfer.data.dataset import Split, load_split
from transfer.models.backbones import layer_index
from transfer.models.classifier import load_model, read_description, save_model, unfreeze
from transfer.training.augmentation import build_augmentation
from transfer.training.features import Features, compute_features
from transfer.training.launch import run_training
from transfer.training.loop import HISTORY_COLUMNS, kept_epoch
from transfer.training.phase import Phase, report, train_phase
from transfer.training.resume import TrainingState
from transfer.training.strategy import build_replicas
from transfer.training.targets import build_targets
from transfer.training.views import stored_features


def main() -> None:
    started = time.monotonic()
    params = load_params()
    replicas = build_replicas(read_launch())
    train, val = load_split(SPLIT, "train"), load_split(SPLIT, "val")
    classifier = load_model(HEAD_MODEL)
    base = classifier.get_layer("base")
    first = layer_index("fine_tune_at", params.fine_tune_at, [layer.name for layer in base.layers])
    unfreeze(base, first)
    head_history = [tuple(map(float, row.values())) for row in read_csv(HISTORY_HEAD)]
    phase = Phase(
        "fine_tune",
        keras.optimizers.RMSprop,
        params.fine_tune_learning_rate,
        params.fine_tune_epochs,
        first_epoch=len(head_history) + 1,
    )
    state = TrainingState(phase.name, params, replicas)
    features = fine_tune_features(classifier, train, val, first, params)
    history = train_phase(
        phase, classifier, features, build_targets(train, val, params), params, state
    )

    rows = [(int(epoch), *scores) for epoch, *scores in (*head_history, *history)]
    write_csv(HISTORY, HISTORY_COLUMNS, rows)
    deliver(classifier, phase, history, head_history, params.early_stopping, started)
    state.remove()


def fine_tune_features(
    classifier: keras.Model, train: Split, val: Split, first: int, params: Params
) -> Features:
    """Return stored features if all layers to fine-tune lie above them, else computed ones.

    Args:
        classifier: With its layers from `first` up trainable.
        train: The training images.
        val: The validation images.
        first: Index of the first layer of the base to fine-tune.
        params: The augmentation and the views are read here.
    """
    augmentation = build_augmentation(params)
    if params.views:
        names = [layer.name for layer in classifier.get_layer("base").layers]
        views_at = layer_index("views_at", params.views_at, names)
        if first >= views_at:
            return stored_features(
                classifier,
                (train, val),
                augmentation,
                params.views,
                views_at,
                params.views_gb * 1e9,
                params.precision,
            )
    return compute_features(classifier, train, val, augmentation, params.precision)


def deliver(
    classifier: keras.Model,
    phase: Phase,
    history: list[tuple],
    head_history: list[tuple],
    patience: int,
    started: float,
) -> None:
    """Save the fine-tuned model or, if that was better on the validation images, the head's.

    Args:
        classifier: The fine-tuned model.
        phase: Names the file of the metrics.
        history: Of fine-tuning, rows of HISTORY_COLUMNS.
        head_history: Of the head's training.
        patience: Of early stopping, which decides which epoch was kept.
        started: `time.monotonic()` at the start of the stage.
    """
    tuned, head = (kept_epoch(rows, patience) for rows in (history, head_history))
    if rank(tuned) >= rank(head):
        save_model(classifier, MODEL, read_description(HEAD_MODEL))
        of_tuned = {"threads": THREADS, "delivered": "fine-tuned"}
        report(phase, classifier, len(history), tuned, started, **of_tuned)
        return
    with replacing(MODEL) as temporary:
        shutil.copyfile(HEAD_MODEL, temporary)
    *_, accuracy, loss = head
    of_head = {"threads": THREADS, "delivered": "head", "val_accuracy": accuracy, "val_loss": loss}
    report(phase, classifier, len(history), tuned, started, **of_head)
    print(
        f"fine_tune: the head alone was better (validation accuracy {accuracy:.4f}, loss "
        f"{loss:.4f}), so {MODEL} is the head's model; lower fine_tune_learning_rate, or raise "
        "fine_tune_at"
    )


def rank(row: tuple) -> tuple[float, float]:
    """Return a key that is greater for the better row of a history: accuracy first, then loss."""
    *_, val_accuracy, val_loss = row
    return val_accuracy, -val_loss


if __name__ == "__main__":
    run_training(main)
