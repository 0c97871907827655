import pytest

from transfer.core.recipes import AUTO
from transfer.training.phase import fine_tuning_epochs


@pytest.mark.parametrize(
    ("images", "epochs"), [(40, 12), (1_000, 12), (2_000, 6), (4_000, 3), (1_000_000, 3)]
)
def test_the_more_images_the_fewer_epochs(images, epochs):
    assert fine_tuning_epochs(AUTO, images) == epochs
    assert fine_tuning_epochs(7, images) == 7
