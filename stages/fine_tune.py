"""Fine-tune the layers of the base from `fine_tune_at` up, together with the head."""

import time

from transfer.dataset import load_split
from transfer.engine import keras
from transfer.errors import run
from transfer.files import (
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
    classifier = load_model(HEAD_MODEL)
    base = classifier.get_layer("base")
    unfreeze(base, layer_index(params.fine_tune_at, [layer.name for layer in base.layers]))
    head_history = [tuple(row.values()) for row in read_csv(HISTORY_HEAD)]
    history = fit(
        classifier,
        keras.optimizers.RMSprop(params.fine_tune_learning_rate),
        load_split(SPLIT, "train"),
        load_split(SPLIT, "val"),
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
