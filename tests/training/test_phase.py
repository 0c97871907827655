import pytest

from stages.fine_tune import fine_tuning_phase
from tests.helpers.models import PARAMS
from transfer.core.recipes import AUTO
from transfer.training.phase import fine_tuning_epochs, fine_tuning_rate


@pytest.mark.parametrize(
    ("images", "epochs"), [(40, 15), (1_000, 12), (2_000, 6), (4_000, 3), (1_000_000, 3)]
)
def test_the_more_images_the_fewer_epochs_and_twice_as_many_for_hard_ones(images, epochs):
    assert fine_tuning_epochs(AUTO, images, 0.95) == epochs
    assert fine_tuning_epochs(AUTO, images, 0.94) == 2 * epochs
    assert fine_tuning_epochs(7, images, 0.94) == 7


@pytest.mark.parametrize(
    ("images", "rate"), [(10, 1e-4), (250, 5e-4), (1_000, 1e-3), (1_000_000, 1e-3)]
)
def test_few_images_have_a_lower_rate(images, rate):
    assert fine_tuning_rate(AUTO, images) == rate
    assert fine_tuning_rate(0.3, images) == 0.3


@pytest.mark.parametrize(("warmup", "epochs"), [(1, 3), (2, 3), (3, 4), (5, 6)])
def test_the_epochs_that_auto_stands_for_are_more_than_the_warm_up(warmup, epochs):
    params = PARAMS.model_copy(update={"fine_tune_epochs": AUTO, "warmup_epochs": warmup})
    history = [(0, 1.0, 0.1, 0.97, 0.1)]
    assert fine_tuning_phase(params, 4_000, history).epochs == epochs
