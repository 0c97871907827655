import keras
import numpy as np
import pytest

from transfer.data.dataset import Split, plain_pixels
from transfer.training.augmentation import Augmentation, augmented_pixels, jitter, mix, warp

SIZE = 9
IDENTITY = [[1, 0, 0], [0, 1, 0]]
LEFT_TO_RIGHT = [[-1, 0, SIZE - 1], [0, 1, 0]]
UPSIDE_DOWN = [[1, 0, 0], [0, -1, SIZE - 1]]


def noise(pictures=3, size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (pictures, size, size, 3), np.uint8)


def waves(pictures, size):
    """Return pictures in which neighbours differ by a few grey levels."""
    phase = np.arange(pictures * 3).reshape(pictures, 1, 1, 3)
    y, x = np.mgrid[:size, :size][..., None] / size
    return (127.5 + 100 * np.sin(3 * x + 2 * y + phase)).round().astype(np.uint8)


def apply(pixels, matrix):
    return warp(pixels, np.repeat(np.array([matrix], float), len(pixels), axis=0))


def test_maps_are_a_function_of_seed_epoch_and_place():
    draw = Augmentation(5, "horizontal", 0.2).draw_maps
    maps = draw(20, SIZE, 3)
    assert maps.shape == (20, 2, 3)
    draw(7, SIZE, 1)
    np.testing.assert_array_equal(Augmentation(5, "horizontal", 0.2).draw_maps(20, SIZE, 3), maps)
    assert len(np.unique(maps.reshape(20, -1), axis=0)) == 20
    others = [draw(20, SIZE, 4), Augmentation(6, "horizontal", 0.2).draw_maps(20, SIZE, 3)]
    for other in others:
        assert not (other == maps).all(axis=(1, 2)).any()


def test_rotations_go_up_to_a_share_of_a_turn_either_way_about_the_centre():
    maps = Augmentation(0, rotation=0.2).draw_maps(2000, SIZE, 1)
    shares = np.arctan2(maps[:, 1, 0], maps[:, 0, 0]) / (2 * np.pi)
    assert -0.2 <= shares.min() < -0.19 and 0.19 < shares.max() <= 0.2
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
    maps = Augmentation(0, flip).draw_maps(2000, SIZE, 1)
    shares = [(maps == matrix).all(axis=(1, 2)).mean() for matrix in np.array(expected)]
    assert sum(shares) == pytest.approx(1)
    assert shares == pytest.approx([1 / len(expected)] * len(expected), abs=0.04)


def test_identity_mirrors_and_quarter_turns_move_whole_pixels():
    pixels = noise()
    np.testing.assert_array_equal(apply(pixels, IDENTITY), pixels)
    np.testing.assert_array_equal(apply(pixels, LEFT_TO_RIGHT), pixels[:, :, ::-1])
    np.testing.assert_array_equal(apply(pixels, UPSIDE_DOWN), pixels[:, ::-1])
    quarter = [[0, -1, SIZE - 1], [1, 0, 0]]
    np.testing.assert_array_equal(apply(pixels, quarter), np.rot90(pixels, axes=(1, 2)))


def test_each_picture_has_its_own_map_and_need_not_be_square():
    pixels = noise(2)[:, :5]
    warped = warp(pixels, np.array([IDENTITY, LEFT_TO_RIGHT], float))
    np.testing.assert_array_equal(warped, [pixels[0], pixels[1, :, ::-1]])


def test_the_border_is_reflected():
    shifted = apply(noise(1), [[1, 0, -2], [0, 1, 0]])
    np.testing.assert_array_equal(shifted[0, :, :2], noise(1)[0, :, 1::-1])


def test_warp_agrees_with_keras():
    pixels = waves(32, 64)
    maps = Augmentation(0, "horizontal_and_vertical", 0.5).draw_maps(32, 64, 1)
    expected = keras.ops.image.affine_transform(
        pixels.astype(np.float32),
        np.pad(maps.reshape(32, 6), ((0, 0), (0, 2))).astype(np.float32),
        interpolation="bilinear",
        fill_mode="reflect",
        data_format="channels_last",
    )
    assert np.abs(warp(pixels, maps) - np.array(expected)).max() < 1


def test_pixels_of_a_split():
    rows = np.array([6, 1, 4])
    split = Split(noise(8), rows, np.zeros(3, int), [], ["a"])
    places = np.array([2, 0])
    (plain,) = plain_pixels(split)(places, 1)
    np.testing.assert_array_equal(plain, split.images[[4, 6]])
    augmentation = Augmentation(0, "horizontal", 0.2)
    read = augmented_pixels(split, augmentation)
    for epoch in (1, 2, 1):
        (augmented,) = read(places, epoch)
        maps = augmentation.draw_maps(3, SIZE, epoch)[places]
        np.testing.assert_array_equal(augmented, warp(plain, maps))
        np.testing.assert_array_equal(augmented[1:], read(places[1:], epoch)[0])
    assert (read(places, 1)[0] != read(places, 2)[0]).any()
    (still,) = augmented_pixels(split, Augmentation(0))(places, 1)
    np.testing.assert_array_equal(still, plain)


def test_crops_cut_off_up_to_a_share_of_the_side_and_stay_inside():
    maps = Augmentation(0, random_crop=0.4).draw_maps(2000, SIZE, 1)
    sides = maps[:, 0, 0]
    np.testing.assert_array_equal(maps[:, :, :2], sides[:, None, None] * np.eye(2))
    assert 0.6 < sides.min() < 0.61 and 0.99 < sides.max() <= 1
    first = maps[:, :, 2]
    last = first + sides[:, None] * (SIZE - 1)
    assert first.min() >= 0 and last.max() <= SIZE - 1
    assert first.max() > 0.3 * (SIZE - 1)


def test_crops_are_turned_and_mirrored_like_the_whole():
    whole = Augmentation(0, "horizontal", 0.2).draw_maps(500, SIZE, 1)
    cut = Augmentation(0, "horizontal", 0.2, random_crop=0.4).draw_maps(500, SIZE, 1)
    only_cut = Augmentation(0, random_crop=0.4).draw_maps(500, SIZE, 1)
    for corner in ([0, 0, 1], [SIZE - 1, 2, 1]):
        place = np.c_[only_cut @ corner, np.ones(500)]
        np.testing.assert_allclose(cut @ corner, np.einsum("nij,nj->ni", whole, place), atol=1e-12)


def test_jitter_changes_brightness_contrast_and_saturation():
    pixels = np.array([[[[100, 50, 200], [60, 60, 60]]]], np.uint8)
    weights = np.array([0.299, 0.587, 0.114])
    for factors in ([1, 1, 1], [1.2, 1, 1], [1, 0.5, 1], [1, 1, 0], [0.8, 1.3, 0.7]):
        brightness, contrast, saturation = factors
        bright = brightness * pixels.astype(float)
        contrasted = contrast * bright + (1 - contrast) * (bright @ weights).mean()
        grey = (contrasted @ weights)[..., None]
        expected = saturation * contrasted + (1 - saturation) * grey
        found = jitter(pixels, np.array([factors], float))
        assert np.abs(found - expected).max() <= 0.51, factors
    assert jitter(pixels, np.array([[3.0, 1, 1]])).max() == 255


def test_colors_are_a_function_of_seed_and_epoch_within_their_share():
    draw = Augmentation(0, color_jitter=0.3).draw_colors
    factors = draw(2000, 1)
    assert 0.7 <= factors.min() < 0.71 and 1.29 < factors.max() <= 1.3
    np.testing.assert_array_equal(draw(2000, 1), factors)
    assert (draw(2000, 2) != factors).all()


def test_mixup_mixes_each_picture_with_another_view_of_the_same_epoch():
    split = Split(noise(40), np.arange(40), np.zeros(40, int), [], ["a"])
    mixup = Augmentation(0, "horizontal", color_jitter=0.2, mixup=0.4)
    alone = augmented_pixels(split, Augmentation(0, "horizontal", color_jitter=0.2))
    others, shares = mixup.draw_mixtures(40, 2)
    assert sorted(others) == list(range(40))
    assert 0 <= shares.min() < 0.1 and 0.9 < shares.max() <= 1
    places = np.array([5, 3])
    (mixed,) = augmented_pixels(split, mixup)(places, 2)
    (own,), (other,) = alone(places, 2), alone(others[places], 2)
    expected = mix(own, other, shares[places])
    assert mixed.dtype == np.uint8 and np.abs(mixed - expected).max() <= 0.5
    np.testing.assert_array_equal(mix(np.ones(2), np.zeros(2), np.array([0.25, 1])), [0.25, 1])
