"""The two phases of a training, told apart by a few values only: the head, then fine-tuning."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from transfer.core.cpu import describe_cpu
from transfer.core.files import METRICS, write_json
from transfer.core.params import Params
from transfer.core.recipes import AUTO
from transfer.core.runtime import keras
from transfer.models.classifier import count_trainable_parameters
from transfer.training.features import Features
from transfer.training.loop import Loop, fit
from transfer.training.optimizers import build_optimizer
from transfer.training.resume import TrainingState
from transfer.training.status import Status
from transfer.training.targets import Targets
from transfer.training.trackers import Epoch, log_scores, start_trackers

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": partial(keras.optimizers.SGD, momentum=0.9, nesterov=True),
}
RATE, RATE_IMAGES = 0.001, 1_000  # fine-tuning's learning rate for so many training images or more
IMAGES = 12_000  # that fine-tuning sees in all, by the recipe `robust`
EPOCHS = 3, 15  # at least, so that a large set is seen more than once; at most, for a small one
EASY = 0.95  # accuracy of the head below which there is so much to gain that all this is doubled


@dataclass(frozen=True)
class Phase:
    """One of the two phases of a training.

    name: Of its stage, and of its file in metrics/.
    optimizer: One of OPTIMIZERS.
    learning_rate: The highest one, where a schedule changes it.
    epochs: How many, unless early stopping ends the phase before.
    first_epoch: The number of its first epoch, from 1; fine-tuning continues the head's count.
    before: The kept epoch of the phase before, with whose weights it starts; None: there is none.
    """

    name: str
    optimizer: Callable[..., keras.optimizers.Optimizer]
    learning_rate: float
    epochs: int
    first_epoch: int = 1
    before: Epoch | None = None


def fine_tuning_epochs(epochs: int | str, image_count: int, head_accuracy: float) -> int:
    """Return the epochs of fine-tuning.

    Args:
        epochs: The parameter fine_tune_epochs; `auto`: as many as show IMAGES images, within the
            limits EPOCHS, and twice as many if the head's accuracy is below EASY.
        image_count: Training images.
        head_accuracy: Of the head alone, on the validation images.
    """
    if epochs != AUTO:
        return epochs
    fewest, most = EPOCHS
    of_easy = min(max(fewest, round(IMAGES / image_count)), most)
    return of_easy if head_accuracy >= EASY else 2 * of_easy


def fine_tuning_rate(rate: float | str, image_count: int) -> float:
    """Return the learning rate of fine-tuning.

    Adam's steps are as long for small gradients as for large ones, so its first steps throw a
    converged head off, and few images mean too few steps to come back.

    Args:
        rate: The parameter fine_tune_learning_rate; `auto`: RATE, or where there are fewer than
            RATE_IMAGES images, in proportion to the square root of their number.
        image_count: Training images.
    """
    if rate != AUTO:
        return rate
    return float(f"{RATE * min(1, image_count / RATE_IMAGES) ** 0.5:.2g}")


def train_phase(
    phase: Phase,
    classifier: keras.Model,
    features: Features,
    targets: tuple[Targets, Targets],
    params: Params,
    state: TrainingState,
) -> list[tuple]:
    """Train a classifier through one phase, as the parameters ask.

    Args:
        phase: Which one.
        classifier: Its trainable layers are trained, in place.
        features: What its live layers start from.
        targets: Of the training and of the validation images.
        params: Those of the optimizer and of the loop are read here.
        state: Of an interrupted run, which is continued; names the replicas, if there are several.

    Returns:
        The history, a row of HISTORY_COLUMNS per epoch.

    Raises:
        UserError: As by `fit`; or a tracker can't be reached.
    """
    image_count = len(targets[0])
    optimizer = build_optimizer(
        phase.optimizer, phase.learning_rate, phase.epochs, image_count, params
    )
    callbacks = ()
    if state.is_chief:
        status = Status(phase.name, image_count, params.batch_size)
        callbacks = status, *start_trackers(dict(params), phase.before)
    loop = Loop(
        params.batch_size,
        params.seed,
        phase.epochs,
        phase.first_epoch,
        params.early_stopping,
        callbacks,
    )
    return fit(classifier, optimizer, features, targets, loop, state, state.replicas)


def report(
    phase: Phase, classifier: keras.Model, epochs: int, kept: tuple, started: float, **more: object
) -> None:
    """Write the phase's metrics and print a line, with the seconds, which no file may hold.

    Args:
        phase: Names the file in metrics/.
        classifier: Its trainable parameters are counted.
        epochs: How many were trained; 0: the head was solved.
        kept: Ends with the accuracy and the loss of the kept weights on the validation images.
        started: `time.monotonic()` at the start of the stage.
        more: Further metrics, or other values for those written here.
    """
    *_, val_accuracy, val_loss = kept
    trainable = count_trainable_parameters(classifier)
    metrics = {
        "val_accuracy": val_accuracy,
        "val_loss": val_loss,
        "epochs": epochs,
        "trainable_parameters": trainable,
        "cpu": describe_cpu(),
        **more,
    }
    write_json(METRICS / f"{phase.name}.json", metrics)
    if epochs:  # otherwise nothing has been logged of this stage
        log_scores(phase.name, metrics)
    trained = f"{epochs} epochs" if epochs else "solved"
    print(
        f"{phase.name}: {trained}, {trainable:,} trainable parameters, validation accuracy "
        f"{val_accuracy:.4f}, loss {val_loss:.4f}, {time.monotonic() - started:.0f} s"
    )
