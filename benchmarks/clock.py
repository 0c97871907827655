"""For both sides of the comparison: a clock for the epochs, and a file for the result."""

import json
import time
from pathlib import Path

import keras


class Clock(keras.callbacks.Callback):
    """Measure the seconds of training and of validation in each epoch."""

    def __init__(self):
        super().__init__()
        self.train, self.validation = [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.started, self.validation_seconds = time.monotonic(), 0.0

    def on_test_begin(self, logs=None):
        self.validation_started = time.monotonic()

    def on_test_end(self, logs=None):
        self.validation_seconds = time.monotonic() - self.validation_started

    def on_epoch_end(self, epoch, logs=None):
        self.train.append(time.monotonic() - self.started - self.validation_seconds)
        self.validation.append(self.validation_seconds)

    def result(self, history: dict) -> dict:
        """Return the seconds and the validation accuracy of each epoch, and the last scores."""
        last = {name: values[-1] for name, values in history.items()}
        times = {"train": self.train, "validation": self.validation}
        return times | {"val_accuracies": history["val_accuracy"]} | last


def write_result(path: Path, result: dict) -> None:
    path.write_text(json.dumps(result))
