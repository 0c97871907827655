"""Optimizers with the schedule and the weight decay that the parameters ask for."""

from collections.abc import Callable

from transfer.core.params import Params
from transfer.core.runtime import keras

# Biases, and the scale and shift of a normalization, are commonly not decayed.
NOT_DECAYED = ["bias", "beta", "gamma"]


def build_optimizer(
    kind: Callable[..., keras.optimizers.Optimizer],
    rate: float,
    epochs: int,
    image_count: int,
    params: Params,
) -> keras.optimizers.Optimizer:
    """Build the optimizer of one phase of the training.

    Args:
        kind: A class of keras.optimizers, or a function that calls one.
        rate: The highest learning rate.
        epochs: Epochs of the phase, for the schedule.
        image_count: Training images, of which the steps of an epoch follow.
        params: Batch size, schedule, warm-up and weight decay are read here.
    """
    steps = -(-image_count // params.batch_size)  # rounded up: the last batch may be smaller
    optimizer = kind(
        learning_rate(rate, steps, epochs, params.warmup_epochs, params.schedule),
        weight_decay=params.weight_decay or None,
    )
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return optimizer


def learning_rate(
    rate: float, steps: int, epochs: int, warmup_epochs: int, schedule: str
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return what an optimizer takes as its learning rate.

    It rises linearly from 0 over the first epochs, then stays constant, or falls to 0 as half a
    cosine (Loshchilov and Hutter, 2017).

    Args:
        rate: The highest learning rate.
        steps: Batches in an epoch.
        epochs: Epochs, those of the warm-up among them.
        warmup_epochs: First epochs, in which the rate rises; 0: none.
        schedule: constant or cosine.
    """
    if schedule == "constant" and not warmup_epochs:
        return rate
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=(epochs - warmup_epochs) * steps,
        alpha=1.0 if schedule == "constant" else 0.0,
        warmup_target=rate,
        warmup_steps=warmup_epochs * steps,
    )
