"""Train a new head on the frozen base."""

import time

from transfer.core.files import (
    BASE_WEIGHTS,
    HEAD_FEATURES,
    HEAD_MODEL,
    HISTORY_HEAD,
    SPLIT,
    write_csv,
)
from transfer.core.params import load_params
from transfer.core.runtime import keras
from transfer.data.dataset import load_split
from transfer.models.backbones import build_base, check_layers
from transfer.models.classifier import Description, build_classifier, load_base, save_model
from transfer.training.augmentation import build_augmentation
from transfer.training.features import compute_features, load_features
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
    base = build_base(params.backbone, image_size=train.images.shape[1])
    check_layers(params, [layer.name for layer in base.layers])  # not after hours of training
    load_base(base, BASE_WEIGHTS)
    classes = len(train.class_names)
    classifier = build_classifier(base, params.backbone, classes, params.dropout, params.seed)
    augmentation = build_augmentation(params)
    if params.views:
        features = load_features(
            classifier, train, val, HEAD_FEATURES, len(base.layers), params.precision
        )
    else:
        features = compute_features(classifier, train, val, augmentation, params.precision)
    state = TrainingState("train_head", params, replicas)
    history = fit(
        classifier,
        build_optimizer(
            keras.optimizers.Adam,
            params.head_learning_rate,
            params.head_epochs,
            len(train.labels),
            params,
        ),
        features,
        (training_targets(train, augmentation, params), Targets(val)),
        params.batch_size,
        params.seed,
        params.head_epochs,
        patience=params.early_stopping,
        state=state,
        replicas=replicas,
    )
    description = Description(train.class_names, params.crop_to_aspect_ratio)
    save_model(classifier, HEAD_MODEL, description)
    write_csv(HISTORY_HEAD, HISTORY_COLUMNS, history)
    kept = kept_epoch(history, params.early_stopping)
    report("train_head", classifier, len(history), kept, started)
    state.remove()


if __name__ == "__main__":
    run_training(main)
