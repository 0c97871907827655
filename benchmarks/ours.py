"""Run a training stage with a clock: python benchmarks/ours.py train_head RESULT"""

import sys
from importlib import import_module
from pathlib import Path

from transfer import training  # first: it sets TensorFlow up

from clock import Clock, write_result  # isort: skip


class TimedTrainer(training.Trainer):
    def fit(self, *arguments, **options):
        clock = Clock()
        callbacks = [*options.pop("callbacks", ()), clock]
        history = super().fit(*arguments, callbacks=callbacks, **options)
        write_result(Path(sys.argv[2]), clock.result(history.history))
        return history


training.Trainer = TimedTrainer
import_module(f"stages.{sys.argv[1]}").main()
