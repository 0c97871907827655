"""Train a new head on the frozen base."""

import time

from transfer.dataset import load_split
from transfer.engine import keras
from transfer.errors import run
from transfer.files import BASE_WEIGHTS, HEAD_MODEL, HISTORY_HEAD, SPLIT, write_csv
from transfer.model import build_base, build_classifier, save_model
from transfer.params import load_params
from transfer.training import HISTORY_COLUMNS, fit, report


def main() -> None:
    started = time.monotonic()
    params = load_params()
    train, val = load_split(SPLIT, "train"), load_split(SPLIT, "val")
    base = build_base(image_size=train.images.shape[1])
    params.check_fine_tune_at([layer.name for layer in base.layers])  # not after hours of training
    base.load_weights(BASE_WEIGHTS)
    classifier = build_classifier(
        base, len(train.class_names), params.flip, params.rotation, params.dropout, params.seed
    )
    history = fit(
        classifier,
        keras.optimizers.Adam(params.head_learning_rate),
        train,
        val,
        params.batch_size,
        params.seed,
        params.head_epochs,
    )
    save_model(classifier, HEAD_MODEL)
    write_csv(HISTORY_HEAD, HISTORY_COLUMNS, history)
    report("train_head", classifier, history, started)


if __name__ == "__main__":
    run(main)
