"""Train a new head on the frozen base."""

import sys
import time
from contextlib import nullcontext
from functools import partial

import numpy as np

from transfer.core.files import (
    BASE_WEIGHTS,
    HEAD_MODEL,
    HISTORY,
    HISTORY_HEAD,
    SPLIT,
    SUSPECTS,
    write_csv,
)
from transfer.core.params import Params
from transfer.core.params_file import load_params
from transfer.core.processes import read_launch
from transfer.core.recipes import describe
from transfer.core.runtime import keras
from transfer.data.dataset import MANIFEST, Split, load_split, plain_pixels
from transfer.models.backbones import build_base, load_weights
from transfer.models.classifier import build_classifier, save_model
from transfer.models.compiled import keep
from transfer.models.description import Description
from transfer.training.augmentation import build_augmentation
from transfer.training.convex import plain_and_mirrored, solve_head
from transfer.training.features import Features, compute_features, features_of
from transfer.training.history import kept_epoch, restored, write_history
from transfer.training.kept import KeptFeatures
from transfer.training.launch import run_training
from transfer.training.phase import OPTIMIZERS, Phase, report, train_phase
from transfer.training.resume import TrainingState
from transfer.training.strategy import build_replicas
from transfer.training.suspects import COLUMNS, find_suspects, summary, write_suspects
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
    base = build_base(params.backbone, image_size=train.images.shape[1])
    load_weights(base, BASE_WEIGHTS)
    classifier = build_classifier(
        base, params.backbone, len(train.class_names), params.dropout, params.seed
    )
    phase = Phase("train_head", OPTIMIZERS["adam"], params.head_learning_rate, params.head_epochs)
    state = TrainingState(phase.name, params, replicas, partial(write_history, HISTORY))
    if params.head_solver == "lbfgs" and not is_chief:
        sys.exit()  # the solver is no work to share
    features = head_features(classifier, train, val, params)
    width = classifier.get_layer("head").layers[-1].kernel.shape[0]
    kept = KeptFeatures(SUSPECTS.parent, len(train.images), width)
    if params.head_solver == "lbfgs":
        if params.suspects:
            features = kept.keeping(features, train, val)
        history = [(0, *solve_head(classifier, features, train, val, params))]
    else:
        targets = build_targets(train, val, params)
        with restored(HISTORY) if is_chief else nullcontext():  # it shows this run meanwhile
            history = train_phase(phase, classifier, features, targets, params, state)

    description = Description(train.class_names, params.crop_to_aspect_ratio)
    save_model(classifier, HEAD_MODEL, description)
    keep(HEAD_MODEL, features.extract)
    write_history(HISTORY_HEAD, history)
    kept_row = kept_epoch(history, params.early_stopping)
    report(phase, classifier, history[-1][0], kept_row, started)
    if params.suspects:
        extract = features.extract or plain_features(classifier, train, val, params).extract
        kept.complete(train.images, extract)
        name_suspects(kept, train, val, params.seed)
    else:
        write_csv(SUSPECTS, COLUMNS, ())
    state.remove()


def head_features(classifier: keras.Model, train: Split, val: Split, params: Params) -> Features:
    """Return the features of the whole base: stored ones if there are views, else computed.

    A solver needs each image twice only, so that nothing is stored for it.
    """
    if params.head_solver == "lbfgs":
        return plain_features(classifier, train, val, params)
    augmentation = build_augmentation(params)
    if not params.views:
        return compute_features(classifier, train, val, augmentation, params.precision)
    return stored_features(
        classifier,
        (train, val),
        augmentation,
        params.views,
        len(classifier.get_layer("base").layers),
        params.views_gb * 1e9,
        params.precision,
    )


def plain_features(classifier: keras.Model, train: Split, val: Split, params: Params) -> Features:
    """Return the features of the whole base, of images as they are and of mirrored ones."""
    pixels = plain_and_mirrored(train, params.flip)
    return features_of(classifier, pixels, plain_pixels(val), params.precision)


def name_suspects(kept: KeptFeatures, train: Split, val: Split, seed: int) -> None:
    """Write the table of images that are worth a second look, and print a line about them.

    Test images are looked at too: what is found there changes nothing but the table.

    Args:
        kept: The features of all images.
        train: The training images.
        val: The validation images.
        seed: As for `find_suspects`.
    """
    labels = np.empty(len(kept), int)
    for split in (train, val, load_split(SPLIT, "test")):
        labels[split.rows] = split.labels
    found = find_suspects(kept, labels, seed)
    rows = write_suspects(SUSPECTS, found, SPLIT / MANIFEST, train.class_names)
    print(f"train_head: {summary(rows, SUSPECTS)}")


if __name__ == "__main__":
    run_training(main)
