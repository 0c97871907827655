import pytest

from transfer.core.recipes import AUTO
from transfer.training.phase import fine_tuning_epochs


@pytest.mark.parametrize(
    ("images", "size", "epochs"),
    [
        (40, 224, 12),
        (1_000, 224, 12),
        (2_000, 224, 6),
        (4_000, 224, 3),
        (1_000_000, 224, 3),
        (10_000, 96, 7),
        (2_000, 112, 12),
        (2_000, 300, 3),
    ],
)
def test_the_more_and_the_larger_images_the_fewer_epochs(images, size, epochs):
    assert fine_tuning_epochs(AUTO, images, size) == epochs
    assert fine_tuning_epochs(7, images, size) == 7
