import numpy as np
import pytest
from PIL import Image

from transfer.download.sample import draw_animal, draw_sample

WIDTHS = (48, 64)


def draw(folder, images_per_kind=3):
    draw_sample(folder, images_per_kind, WIDTHS)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.jpg")}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    return folder, draw(folder)


def test_each_kind_has_its_folder(sample):
    assert sorted(sample[1]) == [
        *(f"cats/cat.{index:04d}.jpg" for index in range(3)),
        *(f"dogs/dog.{index:04d}.jpg" for index in range(3)),
    ]


def test_every_run_writes_the_same_bytes(sample, tmp_path):
    assert draw(tmp_path) == sample[1]


def test_an_image_does_not_depend_on_how_many_are_drawn(sample, tmp_path):
    fewer = draw(tmp_path, images_per_kind=1)
    assert len(fewer) == 2
    assert fewer.items() <= sample[1].items()


def test_no_two_images_are_alike(sample):
    assert len(set(sample[1].values())) == 6


def test_images_are_rgb_jpegs_of_the_asked_size(sample):
    for path in sample[0].rglob("*.jpg"):
        with Image.open(path) as image:
            image.load()
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert WIDTHS[0] <= image.width <= WIDTHS[1]
        assert 0.65 <= image.height / image.width <= 1.3
        assert np.asarray(image).std() > 5  # something is drawn


def test_the_kind_changes_the_animal_and_nothing_else():
    cat, dog = (draw_animal(np.random.default_rng(0), kind, WIDTHS) for kind in ("cat", "dog"))
    different = (np.asarray(cat) != np.asarray(dog)).any(axis=2)
    assert cat.size == dog.size
    assert 0.02 < different.mean() < 0.9
