"""Run a training stage with a clock: python benchmarks/ours.py train_head RESULT"""

import sys
from importlib import import_module
from pathlib import Path

from transfer.training import loop as training  # first: it sets TensorFlow up

from clock import Clock, write_result  # isort: skip


def timed(trainer: type[training.Trainer]) -> type[training.Trainer]:
    class Timed(trainer):
        def fit(self, *arguments, **options):
            clock = Clock()
            callbacks = [*options.pop("callbacks", ()), clock]
            history = super().fit(*arguments, callbacks=callbacks, **options)
            if not hasattr(self, "replicas") or self.replicas.is_chief:
                write_result(Path(sys.argv[2]), clock.result(history.history))
            return history

    return Timed


training.SharedTrainer, training.Trainer = timed(training.SharedTrainer), timed(training.Trainer)
import_module(f"stages.{sys.argv[1]}").main()
