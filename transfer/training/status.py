"""How far a training is, for those who watch it: a file that comes and goes with it."""

import json
import time
from contextlib import suppress

from transfer.core.files import STATUS, replacing
from transfer.core.runtime import keras

SECONDS = 1  # at most one file in so many


class Status(keras.callbacks.Callback):
    """Write how far the training is to STATUS, about once a second; remove it at the end.

    It holds durations, which no output may, so Git and DVC ignore it. Where it can't be written,
    the training goes on without it.
    """

    def __init__(self, stage: str, image_count: int, batch_size: int) -> None:
        """Take what Keras does not tell a callback.

        Args:
            stage: The name of the stage.
            image_count: Training images.
            batch_size: Images in a batch.
        """
        self.stage, self.image_count, self.batch_size = stage, image_count, batch_size
        self.first_epoch = None
        self.written = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the clocks."""
        self.epoch, self.epoch_started = epoch, time.monotonic()
        if self.first_epoch is None:  # of this process: an interrupted run continues later
            self.first_epoch, self.started = epoch, self.epoch_started
        self._write(0)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Write the status, if the last one is old."""
        if time.monotonic() - self.written >= SECONDS:
            self._write(min((batch + 1) * self.batch_size, self.image_count))

    def on_train_end(self, logs: dict | None = None) -> None:
        """Remove the file."""
        with suppress(OSError):
            STATUS.unlink(missing_ok=True)

    def _write(self, images: int) -> None:
        self.written = time.monotonic()
        done = self.epoch - self.first_epoch + images / self.image_count
        left = self.params["epochs"] - self.first_epoch - done
        status = {
            "stage": self.stage,
            "epoch": self.epoch + 1,
            "epochs": self.params["epochs"],
            "images": images,
            "of": self.image_count,
            "images_per_second": images / max(self.written - self.epoch_started, 1e-9),
            "seconds_left": left * (self.written - self.started) / done if done else None,
        }
        with suppress(OSError), replacing(STATUS) as temporary:
            temporary.write_text(json.dumps(status))
