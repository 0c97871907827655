"""Fine-tune the layers of the base from `fine_tune_at` up, together with the head."""

import shutil
import time
from dataclasses import replace

import numpy as np

from transfer.core.cpu import THREADS
from transfer.core.files import (
    HEAD_MODEL,
    HISTORY,
    HISTORY_HEAD,
    MODEL,
    SPLIT,
    replacing,
)
from transfer.core.layers import layer_index
from transfer.core.params import Params
from transfer.core.params_file import load_params
from transfer.core.processes import read_launch
from transfer.core.recipes import describe
from transfer.core.runtime import keras
from transfer.data.dataset import Split, load_split
from transfer.models.backbones import first_layer
from transfer.models.classifier import load_model, save_model, unfreeze
from transfer.models.compiled import keep
from transfer.models.description import read_description
from transfer.models.features import compile_base
from transfer.models.folding import absorb_scales
from transfer.training.augmentation import build_augmentation
from transfer.training.calibration import (
    best_temperature,
    divide_logits,
    fit_temperature,
    score,
)
from transfer.training.familiarity import measure_familiarity
from transfer.training.features import Features, compute_features
from transfer.training.history import (
    HISTORY_COLUMNS,
    kept_epoch,
    read_history,
    write_history,
)
from transfer.training.interpolation import interpolate, logits_of_validation
from transfer.training.launch import run_training
from transfer.training.phase import (
    OPTIMIZERS,
    Phase,
    fine_tuning_epochs,
    fine_tuning_rate,
    report,
    train_phase,
)
from transfer.training.resume import TrainingState
from transfer.training.strategy import Replicas, build_replicas
from transfer.training.targets import build_targets
from transfer.training.views import stored_features


def main() -> None:
    started = time.monotonic()
    params = load_params()
    replicas = build_replicas(read_launch())
    is_chief = not replicas or replicas.is_chief
    if is_chief:
        print(describe(dict(params)))
    train, val = load_split(SPLIT, "train"), load_split(SPLIT, "val")
    classifier = load_model(HEAD_MODEL)
    base = classifier.get_layer("base")
    first = first_layer(base, params.fine_tune_at)
    unfreeze(base, first)
    if params.fold_normalization:
        absorb_scales(base)
    head_history = read_history(HISTORY_HEAD)
    phase = fine_tuning_phase(params, len(train.rows), head_history)
    if is_chief:
        print(
            f"fine_tune: from layer {first} of {len(base.layers)}, {base.layers[first].name}; "
            f"{phase.epochs} epochs, learning rate {phase.learning_rate:g}"
        )
    state = TrainingState(
        phase.name, params, replicas, lambda rows: write_history(HISTORY, [*head_history, *rows])
    )
    features = fine_tune_features(classifier, train, val, first, params)
    targets = build_targets(train, val, params)
    logits = logits_of_validation(classifier, features, len(val.rows), params.batch_size)
    head_logits = logits()
    if params.label_smoothing and params.head_solver == "lbfgs":
        soften(classifier, head_logits, val.labels, params.label_smoothing, replicas)
    before = [variable.numpy() for variable in classifier.trainable_variables]
    history = train_phase(phase, classifier, features, targets, params, state)

    head, tuned = (kept_epoch(rows, params.early_stopping)[-2:] for rows in (head_history, history))
    if params.interpolate_weights:
        fraction, val_logits = interpolate(classifier, before, logits, val.labels)
    else:
        fraction, val_logits = float((tuned[0], -tuned[1]) >= (head[0], -head[1])), logits()
    model = classifier if fraction else load_model(HEAD_MODEL)
    val_logits = val_logits if fraction else head_logits
    more = deliver(model, fraction, val_logits, train, val, params)
    more |= {"learning_rate": phase.learning_rate, "first_layer": first, "threads": THREADS}
    kept = more["val_accuracy"], more["val_loss"]
    report(phase, classifier, len(history), kept, started, **more)
    state.remove()


def fine_tuning_phase(params: Params, image_count: int, head_history: list[tuple]) -> Phase:
    """Return the phase, with a rate and epochs that suit the images.

    Args:
        params: Those of fine-tuning are read here.
        image_count: Training images.
        head_history: Rows of HISTORY_COLUMNS.
    """
    epoch, *scores = kept_epoch(head_history, params.early_stopping)
    before = dict(zip(HISTORY_COLUMNS[1:], scores, strict=True))
    epochs = fine_tuning_epochs(params.fine_tune_epochs, image_count, before["val_accuracy"])
    return Phase(
        "fine_tune",
        OPTIMIZERS[params.fine_tune_optimizer],
        fine_tuning_rate(params.fine_tune_learning_rate, image_count),
        max(epochs, params.warmup_epochs + 1),  # `auto` may stand for no more than the warm-up
        first_epoch=head_history[-1][0] + 1,
        before=(epoch, before),
    )


def soften(
    classifier: keras.Model,
    logits: np.ndarray,
    labels: np.ndarray,
    smoothing: float,
    replicas: Replicas | None,
) -> None:
    """Make the solved head as unsure as the smoothed labels that fine-tuning starts with.

    It was solved with plain labels. The first steps would only take its certainty away, through
    all layers, and distort the base (docs/recipes.md).

    Args:
        classifier: Changed in place.
        logits: Of the validation images, float [N, 1] or [N, classes].
        labels: Of the validation images, int [N].
        smoothing: As for `Targets`.
        replicas: All take the chief's temperature.
    """
    temperature = fit_temperature(logits, labels, smoothing)
    if replicas:
        temperature = float(replicas.broadcast(str(temperature).encode()))
    divide_logits(classifier, temperature)


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
    model: keras.Model,
    fraction: float,
    logits: np.ndarray,
    train: Split,
    val: Split,
    params: Params,
) -> dict[str, object]:
    """Save the fine-tuned model or, if that was better on the validation images, the head's.

    Args:
        model: The one to save; its logits are divided here if it is to be calibrated.
        fraction: Of the way from the head's model to the fine-tuned one; 0: it is the head's.
        logits: Of the validation images, float [N, 1] or [N, classes].
        train: The training images.
        val: The validation images.
        params: Those of calibration and familiarity are read here.

    Returns:
        The metrics that tell which one it is, and how good on the validation images.
    """
    facts = {"delivered": "fine-tuned" if fraction else "head", "fraction": fraction}
    description, familiarity, base = read_description(HEAD_MODEL), None, None
    if params.calibrate:
        facts["temperature"] = temperature = best_temperature(logits, val.labels)
        divide_logits(model, temperature)
        logits = logits / temperature
        description = replace(description, temperature=temperature)
    if params.familiarity:
        base = compile_base(model)
        familiarity, limit, unfamiliar = measure_familiarity(base, train, val, logits)
        description = replace(description, familiar_from=limit)
        facts |= {"familiar_from": limit, "val_unfamiliar": unfamiliar}
    if fraction or params.calibrate or params.familiarity:
        save_model(model, MODEL, description, familiarity)
    else:
        with replacing(MODEL) as temporary:
            shutil.copyfile(HEAD_MODEL, temporary)
    keep(MODEL, base)
    accuracy, loss = score(logits, val.labels)
    if not fraction:
        print(
            f"fine_tune: the head alone is not surpassed (validation accuracy {accuracy:.4f}, loss "
            f"{loss:.4f}), so {MODEL} is the head's model"
        )
    return facts | {"val_accuracy": accuracy, "val_loss": loss}


if __name__ == "__main__":
    run_training(main)
