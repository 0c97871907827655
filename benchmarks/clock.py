"""What both sides of the comparison use: a clock for the epochs, and a file for the result."""

import json
import time
from pathlib import Path

import keras


class Clock(keras.callbacks.Callback):
    """Take the seconds of each epoch, those of its validation apart."""

    def __init__(self):
        super().__init__()
        self.train, self.validation = [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.begun, self.validated = time.monotonic(), 0.0

    def on_test_begin(self, logs=None):
        self.test_begun = time.monotonic()

    def on_test_end(self, logs=None):
        self.validated = time.monotonic() - self.test_begun

    def on_epoch_end(self, epoch, logs=None):
        self.train.append(time.monotonic() - self.begun - self.validated)
        self.validation.append(self.validated)

    def result(self, history: dict) -> dict:
        """Return the seconds of each epoch, and the last epoch's scores."""
        last = {name: values[-1] for name, values in history.items()}
        return {"train": self.train, "validation": self.validation} | last


def write_result(path: Path, result: dict) -> None:
    path.write_text(json.dumps(result))
