"""Optimizers with the schedule and the weight decay that the parameters ask for."""

from transfer.core.params import Params
from transfer.core.runtime import keras

# Biases, and the scale and shift of a normalization, are commonly not decayed.
NOT_DECAYED = ["bias", "beta", "gamma"]


def build_optimizer(
    kind: type[keras.optimizers.Optimizer], rate: float, epochs: int, pictures: int, params: Params
) -> keras.optimizers.Optimizer:
    """Build the optimizer of a training of so many epochs on so many pictures.

    Args:
        rate: The highest learning rate.
    """
    optimizer = kind(
        learning_rate(
            rate,
            -(-pictures // params.batch_size),
            epochs,
            params.warmup_epochs,
            params.schedule,
        ),
        weight_decay=params.weight_decay or None,
    )
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return optimizer


def learning_rate(
    rate: float, steps: int, epochs: int, warmup_epochs: int, schedule: str
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return what an optimizer takes as its learning rate.

    It rises from 0 in a line over the first epochs, then stays, or falls to 0 as half a cosine
    (Loshchilov and Hutter, 2017).

    Args:
        steps: Of an epoch.
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
