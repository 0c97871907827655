"""Fine-tune the layers of the base from `fine_tune_at` up, together with the head."""

import time

from transfer.augmentation import Augmentation
from transfer.dataset import load_split
from transfer.engine import keras
from transfer.errors import run
from transfer.features import compute_features, load_features
from transfer.files import (
    FINE_TUNE_FEATURES,
    HEAD_MODEL,
    HISTORY,
    HISTORY_HEAD,
    MODEL,
    SPLIT,
    read_csv,
    write_csv,
)
from transfer.model import load_model, save_model, unfreeze
from transfer.params import layer_index, load_params
from transfer.training import HISTORY_COLUMNS, fit, report


def main() -> None:
    started = time.monotonic()
    params = load_params()
    train, val = load_split(SPLIT, "train"), load_split(SPLIT, "val")
    classifier = load_model(HEAD_MODEL)
    base = classifier.get_layer("base")
    names = [layer.name for layer in base.layers]
    first = layer_index("fine_tune_at", params.fine_tune_at, names)
    views_at = layer_index("views_at", params.views_at, names)
    unfreeze(base, first)
    if params.views and first >= views_at:
        features = load_features(
            classifier, train, val, FINE_TUNE_FEATURES, views_at, params.precision
        )
    else:
        augmentation = Augmentation(params.flip, params.rotation, params.seed)
        features = compute_features(classifier, train, val, augmentation, params.precision)
    head_history = [tuple(row.values()) for row in read_csv(HISTORY_HEAD)]
    history = fit(
        classifier,
        keras.optimizers.RMSprop(params.fine_tune_learning_rate),
        features,
        (train.labels, val.labels),
        params.batch_size,
        params.seed,
        params.fine_tune_epochs,
        first_epoch=len(head_history) + 1,
    )
    save_model(classifier, MODEL)
    write_csv(HISTORY, HISTORY_COLUMNS, [*head_history, *history])
    report("fine_tune", classifier, history, started)


if __name__ == "__main__":
    run(main)
