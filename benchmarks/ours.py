"""Run a training stage with a clock: python benchmarks/ours.py train_head RESULT."""

import sys
from importlib import import_module
from pathlib import Path

from transfer.training import loop  # first: it sets TensorFlow up, which clock imports with Keras

from clock import Clock, write_result  # isort: skip


def timed(trainer: type[loop.Trainer]) -> type[loop.Trainer]:
    """Return a subclass whose `fit` writes the seconds of each epoch."""

    class Timed(trainer):
        def fit(self, *arguments, **options):
            clock = Clock()
            callbacks = [*options.pop("callbacks", ()), clock]
            history = super().fit(*arguments, callbacks=callbacks, **options)
            if not hasattr(self, "replicas") or self.replicas.is_chief:
                write_result(Path(sys.argv[2]), clock.result(history.history))
            return history

    return Timed


loop.SharedTrainer, loop.Trainer = timed(loop.SharedTrainer), timed(loop.Trainer)
import_module(f"stages.{sys.argv[1]}").main()
