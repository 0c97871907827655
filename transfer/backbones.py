"""The bases of keras.applications, each with its own preprocessing."""

import inspect

import numpy as np

from transfer.engine import keras
from transfer.errors import UserError, did_you_mean, one_line

BACKBONES = tuple(name for name in dir(keras.applications) if name[0].isupper())
CHANNELS = 3


def check_backbone(backbone: str) -> None:
    """Raise a UserError if keras.applications has no such backbone."""
    if backbone not in BACKBONES:
        raise UserError(
            f"backbone: expected one of {', '.join(BACKBONES)}; received {backbone!r}"
            f"{did_you_mean(backbone, BACKBONES)}"
        )


def build_base(backbone: str, image_size: int) -> keras.Model:
    """Build a backbone without its top and without weights.

    MobileNetV2, which is the tutorial's, has 154 layers and 2,257,984 parameters.

    Raises:
        UserError: There is no such backbone, or the pictures are too small for it.
    """
    check_backbone(backbone)
    try:
        base = getattr(keras.applications, backbone)(
            input_shape=(image_size, image_size, CHANNELS), include_top=False, weights=None
        )
    except ValueError as error:
        raise UserError(f"image_size: {backbone}: {one_line(error)}") from None
    base.name = "base"  # some look up their blocks by the name that they are given
    return base


def build_preprocessing(backbone: str) -> keras.layers.Layer:
    """Build a layer that does what the backbone's `preprocess_input` does to pixels.

    That is an affine map of the channels, for any of them, and so it can be read off the pixels
    black, red, green and blue. A Keras layer, not a Lambda, whose code no one should have to trust.
    """
    module = inspect.getmodule(getattr(keras.applications, backbone))
    black, *pure = module.preprocess_input(np.vstack([np.zeros(CHANNELS), 255 * np.eye(CHANNELS)]))
    matrix = (np.array(pure) - black) / 255
    scale = np.diag(matrix)
    if np.array_equal(matrix, np.diag(scale)):
        scale, offset = (v[0] if len(set(v)) == 1 else v for v in (scale.tolist(), black.tolist()))
        return keras.layers.Rescaling(scale, offset=offset, name="preprocessing")
    dense = keras.layers.Dense(CHANNELS, trainable=False)  # that which swaps red and blue
    layer = keras.Sequential(
        [keras.Input((None, None, CHANNELS), dtype="uint8"), keras.layers.Rescaling(1.0), dense],
        name="preprocessing",
    )
    dense.set_weights([matrix, black])
    return layer
