import numpy as np
import pytest

from tests.helpers.models import PARAMS
from transfer.core.runtime import keras
from transfer.training.optimizers import build_optimizer, learning_rate


def rates(*arguments):
    schedule = learning_rate(*arguments)
    return [float(schedule(step)) for step in range(31)]


def test_constant_rate_without_warm_up_is_a_number():
    assert learning_rate(0.25, 10, 3, 0, "constant") == 0.25


def test_warm_up_rises_linearly_and_stays():
    np.testing.assert_allclose(rates(0.5, 10, 3, 1, "constant"), [*np.arange(10) / 20, *[0.5] * 21])


@pytest.mark.parametrize("warmup", [0, 1])
def test_cosine_falls_to_zero_at_the_end(warmup):
    steps = np.arange(31) - 10 * warmup
    falling = 0.25 * (1 + np.cos(np.pi * steps / (30 - 10 * warmup)))
    expected = np.where(steps < 0, (steps + 10) / 20, falling)
    np.testing.assert_allclose(rates(0.5, 10, 3, warmup, "cosine"), expected, atol=1e-7)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_weight_decay_is_decoupled_and_leaves_biases_and_normalization(decay):
    params = PARAMS.model_copy(update={"weight_decay": decay})
    optimizer = build_optimizer(keras.optimizers.RMSprop, 0.5, 2, 10, params)
    names = ("kernel", "bias", "gamma", "beta")
    variables = [keras.Variable(np.ones(2), name=name) for name in names]
    optimizer.build(variables)
    optimizer.apply([np.zeros(2, np.float32)] * 4, variables)
    found = [variable.numpy()[0] for variable in variables]
    np.testing.assert_allclose(found, [1 - 0.5 * decay, 1, 1, 1], rtol=1e-6)


def test_schedule_counts_the_smaller_last_batch_too():
    params = PARAMS.model_copy(update={"schedule": "cosine", "batch_size": 4})
    schedule = build_optimizer(keras.optimizers.Adam, 0.1, 2, 10, params)._learning_rate
    assert schedule.decay_steps == 2 * 3
