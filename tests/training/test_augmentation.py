from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
import pytest

from tests.helpers.models import make_augmentation
from transfer.data.dataset import Split, plain_pixels
from transfer.training import operations as module
from transfer.training.augmentation import Augmentation, augmented_pixels, mix, warp
from transfer.training.operations import (
    MIXUP_STREAM,
    ColorJitter,
    Geometric,
    Photometric,
    RandomErasing,
)

SIZE = 9
IDENTITY = [[1, 0, 0], [0, 1, 0]]
LEFT_TO_RIGHT = [[-1, 0, SIZE - 1], [0, 1, 0]]
UPSIDE_DOWN = [[1, 0, 0], [0, -1, SIZE - 1]]


def noise(image_count=3, size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (image_count, size, size, 3), np.uint8)


def waves(image_count, size):
    """Return images in which neighbouring pixels differ by a few grey levels."""
    phase = np.arange(image_count * 3).reshape(image_count, 1, 1, 3)
    y, x = np.mgrid[:size, :size][..., None] / size
    return (127.5 + 100 * np.sin(3 * x + 2 * y + phase)).round().astype(np.uint8)


def apply(pixels, matrix):
    return warp(pixels, np.repeat(np.array([matrix], float), len(pixels), axis=0))


def test_maps_are_a_function_of_seed_epoch_and_index():
    draw, again, other_seed = (
        make_augmentation(seed, flip="horizontal", rotation=0.2).draw_maps for seed in (5, 5, 6)
    )
    maps = draw(20, SIZE, 3)
    assert maps.shape == (20, 2, 3)
    draw(7, SIZE, 1)
    np.testing.assert_array_equal(again(20, SIZE, 3), maps)
    assert len(np.unique(maps.reshape(20, -1), axis=0)) == 20
    others = [draw(20, SIZE, 4), other_seed(20, SIZE, 3)]
    for other in others:
        assert not (other == maps).all(axis=(1, 2)).any()


def test_rotations_go_up_to_a_fraction_of_a_turn_either_way_about_the_centre():
    maps = make_augmentation(rotation=0.2).draw_maps(2000, SIZE, 1)
    turns = np.arctan2(maps[:, 1, 0], maps[:, 0, 0]) / (2 * np.pi)
    assert -0.2 <= turns.min() < -0.19 and 0.19 < turns.max() <= 0.2
    linear, centre = maps[:, :, :2], np.array([4, 4, 1])
    np.testing.assert_allclose(np.linalg.det(linear), 1)
    np.testing.assert_allclose(linear @ linear.transpose(0, 2, 1) - np.eye(2), 0, atol=1e-12)
    np.testing.assert_allclose(maps @ centre - centre[:2], 0, atol=1e-12)


@pytest.mark.parametrize(
    ("flip", "expected"),
    [
        ("none", [IDENTITY]),
        ("horizontal", [IDENTITY, LEFT_TO_RIGHT]),
        ("vertical", [IDENTITY, UPSIDE_DOWN]),
        (
            "horizontal_and_vertical",
            [IDENTITY, LEFT_TO_RIGHT, UPSIDE_DOWN, [[-1, 0, SIZE - 1], [0, -1, SIZE - 1]]],
        ),
    ],
)
def test_flips_are_those_allowed_and_equally_frequent(flip, expected):
    maps = make_augmentation(flip=flip).draw_maps(2000, SIZE, 1)
    fractions = [(maps == matrix).all(axis=(1, 2)).mean() for matrix in np.array(expected)]
    assert sum(fractions) == pytest.approx(1)
    assert fractions == pytest.approx([1 / len(expected)] * len(expected), abs=0.04)


def test_identity_flips_and_quarter_turns_move_whole_pixels():
    pixels = noise()
    np.testing.assert_array_equal(apply(pixels, IDENTITY), pixels)
    np.testing.assert_array_equal(apply(pixels, LEFT_TO_RIGHT), pixels[:, :, ::-1])
    np.testing.assert_array_equal(apply(pixels, UPSIDE_DOWN), pixels[:, ::-1])
    quarter = [[0, -1, SIZE - 1], [1, 0, 0]]
    np.testing.assert_array_equal(apply(pixels, quarter), np.rot90(pixels, axes=(1, 2)))


def test_each_image_has_its_own_map_and_need_not_be_square():
    pixels = noise(2)[:, :5]
    warped = warp(pixels, np.array([IDENTITY, LEFT_TO_RIGHT], float))
    np.testing.assert_array_equal(warped, [pixels[0], pixels[1, :, ::-1]])


def test_the_border_is_reflected():
    shifted = apply(noise(1), [[1, 0, -2], [0, 1, 0]])
    np.testing.assert_array_equal(shifted[0, :, :2], noise(1)[0, :, 1::-1])


def test_warp_agrees_with_keras():
    pixels = waves(32, 64)
    maps = make_augmentation(flip="horizontal_and_vertical", rotation=0.5).draw_maps(32, 64, 1)
    expected = keras.ops.image.affine_transform(
        pixels.astype(np.float32),
        np.pad(maps.reshape(32, 6), ((0, 0), (0, 2))).astype(np.float32),
        interpolation="bilinear",
        fill_mode="reflect",
        data_format="channels_last",
    )
    assert np.abs(warp(pixels, maps) - np.array(expected)).max() < 1


def test_pixels_of_a_split_are_warped_by_the_maps_of_the_epoch():
    rows = np.array([6, 1, 4])
    split = Split(noise(8), rows, np.zeros(3, int), [], ["a"])
    indices = np.array([2, 0])
    (plain,) = plain_pixels(split)(indices, 1)
    np.testing.assert_array_equal(plain, split.images[[4, 6]])
    augmentation = make_augmentation(flip="horizontal", rotation=0.2)
    read = augmented_pixels(split, augmentation)
    for epoch in (1, 2, 1):
        (augmented,) = read(indices, epoch)
        maps = augmentation.draw_maps(3, SIZE, epoch)[indices]
        np.testing.assert_array_equal(augmented, warp(plain, maps))
        np.testing.assert_array_equal(augmented[1:], read(indices[1:], epoch)[0])
    assert (read(indices, 1)[0] != read(indices, 2)[0]).any()
    (still,) = augmented_pixels(split, Augmentation(0))(indices, 1)
    np.testing.assert_array_equal(still, plain)


def test_crops_cut_off_up_to_a_fraction_of_the_side_and_stay_inside():
    maps = make_augmentation(random_resized_crop=0.4).draw_maps(2000, SIZE, 1)
    sides = maps[:, 0, 0]
    np.testing.assert_array_equal(maps[:, :, :2], sides[:, None, None] * np.eye(2))
    assert 0.6 < sides.min() < 0.61 and 0.99 < sides.max() <= 1
    first = maps[:, :, 2]
    last = first + sides[:, None] * (SIZE - 1)
    assert first.min() >= 0 and last.max() <= SIZE - 1
    assert first.max() > 0.3 * (SIZE - 1)


def test_crops_are_rotated_and_flipped_like_the_whole():
    moves, crop = {"flip": "horizontal", "rotation": 0.2}, {"random_resized_crop": 0.4}
    whole, cropped, only_cropped = (
        make_augmentation(**params).draw_maps(500, SIZE, 1)
        for params in (moves, moves | crop, crop)
    )
    for corner in ([0, 0, 1], [SIZE - 1, 2, 1]):
        position = np.c_[only_cropped @ corner, np.ones(500)]
        expected = np.einsum("nij,nj->ni", whole, position)
        np.testing.assert_allclose(cropped @ corner, expected, atol=1e-12)


def test_jitter_changes_brightness_contrast_and_saturation():
    pixels = np.array([[[[100, 50, 200], [60, 60, 60]]]], np.uint8)
    weights = np.array([0.299, 0.587, 0.114])
    for factors in ([1, 1, 1], [1.2, 1, 1], [1, 0.5, 1], [1, 1, 0], [0.8, 1.3, 0.7]):
        brightness, contrast, saturation = factors
        bright = brightness * pixels.astype(float)
        contrasted = contrast * bright + (1 - contrast) * (bright @ weights).mean()
        grey = (contrasted @ weights)[..., None]
        expected = saturation * contrasted + (1 - saturation) * grey
        found = ColorJitter().apply(pixels, np.array([factors], float))
        assert np.abs(found - expected).max() <= 0.51, factors
    assert ColorJitter().apply(pixels, np.array([[3.0, 1, 1]])).max() == 255


def test_colors_are_a_function_of_seed_and_epoch_within_their_fraction():
    augmentation = make_augmentation(color_jitter=0.3)
    draw = partial(augmentation.draw_values, augmentation.photometric[0])
    factors = draw(2000, 1)
    assert 0.7 <= factors.min() < 0.71 and 1.29 < factors.max() <= 1.3
    np.testing.assert_array_equal(draw(2000, 1), factors)
    assert (draw(2000, 2) != factors).all()


def test_erasing_fills_rectangles_in_a_fraction_of_the_images():
    size, count = 40, 300
    erasing = RandomErasing(0.5)
    drawn = Augmentation(0, photometric=(erasing,)).draw_values(erasing, count, 1)
    pixels = np.zeros((count, size, size, 3), np.uint8)
    changed = (erasing.apply(pixels, drawn) != pixels).any(axis=3)
    erased = changed.any(axis=(1, 2))
    assert 0.4 < erased.mean() < 0.6
    assert pixels.max() == 0  # the images themselves stay as they are
    for mask in changed[erased]:
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert mask.sum() == height * width  # no pixel of random colour is black, seed 0
        assert 0.01 < height * width / size**2 < 0.44
        assert 0.2 < height / width < 5


def test_erasing_is_a_function_of_what_was_drawn():
    erasing, pixels = RandomErasing(1.0), noise(2, 40)
    drawn = erasing.draw(np.random.default_rng(3), 2)
    first = erasing.apply(pixels, drawn)
    np.testing.assert_array_equal(erasing.apply(pixels[1:], drawn[1:]), first[1:])
    assert (first != pixels).any(axis=(1, 2, 3)).all()


def test_mixup_mixes_each_image_with_another_view_of_the_same_epoch():
    split = Split(noise(40), np.arange(40), np.zeros(40, int), [], ["a"])
    changes = {"flip": "horizontal", "color_jitter": 0.2}
    mixup = make_augmentation(**changes, mixup=0.4)
    alone = augmented_pixels(split, make_augmentation(**changes))
    others, fractions = mixup.draw_mixtures(40, 2)
    assert sorted(others) == list(range(40))
    assert 0 <= fractions.min() < 0.1 and 0.9 < fractions.max() <= 1
    indices = np.array([5, 3])
    (mixed,) = augmented_pixels(split, mixup)(indices, 2)
    (own,), (other,) = alone(indices, 2), alone(others[indices], 2)
    expected = mix(own, other, fractions[indices])
    assert mixed.dtype == np.uint8 and np.abs(mixed - expected).max() <= 0.5
    np.testing.assert_array_equal(mix(np.ones(2), np.zeros(2), np.array([0.25, 1])), [0.25, 1])


def test_every_operation_has_a_random_stream_of_its_own():
    streams = [
        kind.stream
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Geometric | Photometric)
        if kind not in (Geometric, Photometric)
    ]
    streams += [0, MIXUP_STREAM]  # 0 is the shuffling's
    assert len(streams) == len(set(streams)) == 6


@dataclass(frozen=True)
class Shift(Geometric):
    """Move by one pixel; draw nothing."""

    stream = 99

    def draw(self, rng, image_count, size):
        return np.repeat([[[1.0], [0], [1]], [[0], [1], [0]]], image_count, axis=2)


@dataclass(frozen=True)
class Brighten(Photometric):
    """Add a random number."""

    amount: float = 0.0
    stream = 98

    def draw(self, rng, image_count):
        return rng.integers(1, 9, image_count)

    def apply(self, pixels, drawn):
        return pixels + drawn[:, None, None, None].astype(np.uint8)


def test_a_new_operation_needs_nothing_else_and_leaves_the_others_as_they_were():
    split = Split(noise(8) // 4, np.arange(8), np.zeros(8, int), [], ["a"])
    usual = make_augmentation(flip="horizontal", rotation=0.2, color_jitter=0.2)
    more = Augmentation(
        usual.seed, (Shift(), *usual.geometric), (*usual.photometric, Brighten(1.0))
    )
    indices = np.array([5, 3])
    maps = usual.draw_maps(8, SIZE, 2)
    np.testing.assert_array_equal(more.draw_maps(8, SIZE, 2), maps + [[0, 0, 1], [0, 0, 0]])
    added = more.draw_values(Brighten(1.0), 8, 2)[indices, None, None, None]
    jitter, *_ = usual.photometric
    warped = warp(split.images[indices], more.draw_maps(8, SIZE, 2)[indices])
    expected = jitter.apply(warped, usual.draw_values(jitter, 8, 2)[indices]) + added
    np.testing.assert_array_equal(augmented_pixels(split, more)(indices, 2)[0], expected)
    off = Augmentation(usual.seed, usual.geometric, (*usual.photometric, Brighten()))
    np.testing.assert_array_equal(
        *(augmented_pixels(split, a)(indices, 2)[0] for a in (off, usual))
    )
