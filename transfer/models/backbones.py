"""The backbones: those of keras.applications and EfficientNetLite0, each with its preprocessing."""

import inspect
import math
import warnings
from pathlib import Path

import h5py
import numpy as np

from transfer.core.errors import UserError, one_line
from transfer.core.files import describe_content
from transfer.core.layers import layer_index
from transfer.core.recipes import AUTO
from transfer.core.runtime import keras
from transfer.models.efficientnet_lite import EfficientNetLite0
from transfer.models.folding import count_numbers, frontier

# By name, the function that builds it. The module it comes from has its `preprocess_input`.
BACKBONES = {
    name: getattr(keras.applications, name) for name in dir(keras.applications) if name[0].isupper()
} | {"EfficientNetLite0": EfficientNetLite0}
CHANNELS = 3


def build_base(backbone: str, image_size: int) -> keras.Model:
    """Build a backbone without its top, with random weights.

    MobileNetV2, which the tutorial uses, has 154 layers and 2,257,984 parameters.

    Args:
        backbone: One of BACKBONES.
        image_size: Height and width of the images, in pixels.

    Returns:
        A model from preprocessed pixels, float32 [N, image_size, image_size, 3], to feature maps,
        float32 [N, H, W, C].

    Raises:
        UserError: The images are too small for it.
    """
    try:
        base = BACKBONES[backbone](
            input_shape=(image_size, image_size, CHANNELS), include_top=False, weights=None
        )
    except ValueError as error:
        raise UserError(f"image_size: {backbone}: {one_line(error)}") from None
    base.name = "base"  # not as an argument, by which EfficientNetV2 looks up its blocks
    return base


def load_weights(base: keras.Model, path: Path) -> None:
    """Load a weights file of Keras into a backbone without its top.

    Args:
        base: Made by `build_base`; changed in place.
        path: An .h5 file of Keras 2 or a .weights.h5 file of Keras 3.

    Raises:
        UserError: The file is damaged or holds the weights of another model.
    """
    try:
        # Keras only warns if the file has nothing for a layer.
        with warnings.catch_warnings(action="error", category=UserWarning):
            base.load_weights(path)
    except Exception as error:  # each kind of damage raises another one
        what = "damaged, or of another model" if h5py.is_hdf5(path) else describe_content(path)
        raise UserError(
            f"{path} doesn't hold the weights of the backbone without its top; it is {what}: "
            f"{one_line(error)}; set base_weights to another file, or if it is the pipeline's own, "
            "dvc repro makes it again"
        ) from None


def build_preprocessing(backbone: str) -> keras.layers.Layer:
    """Build a layer that does to pixels what the backbone's `preprocess_input` does.

    For every backbone that is an affine map of the channels, so four pixels determine it: black,
    red, green and blue. The layer is not a Lambda, whose code would be loaded with the model.

    Args:
        backbone: One of BACKBONES.
    """
    module = inspect.getmodule(BACKBONES[backbone])
    black, *pure = module.preprocess_input(np.vstack([np.zeros(CHANNELS), 255 * np.eye(CHANNELS)]))
    matrix = (np.array(pure) - black) / 255
    scale = np.diag(matrix)
    if np.array_equal(matrix, np.diag(scale)):
        scale, offset = (v[0] if len(set(v)) == 1 else v for v in (scale.tolist(), black.tolist()))
        return keras.layers.Rescaling(scale, offset=offset, name="preprocessing")
    dense = keras.layers.Dense(CHANNELS, trainable=False)  # for those that swap red and blue
    layer = keras.Sequential(
        [keras.Input((None, None, CHANNELS), dtype="uint8"), keras.layers.Rescaling(1.0), dense],
        name="preprocessing",
    )
    dense.set_weights([matrix, black])
    return layer


def first_layer(base: keras.Model, fine_tune_at: int | str) -> int:
    """Return the index of the first layer to fine-tune.

    `auto` is the layer with a kernel, among those from 60 to 70 % of the way up, that gets the
    fewest numbers from below: the start of a block, where frozen and live layers have the least to
    hand over. For MobileNetV2 that is layer 98, block_11_expand; the tutorial's is 100.

    Args:
        base: All of its layers frozen.
        fine_tune_at: The parameter of that name.

    Raises:
        UserError: The base has no such layer.
    """
    names = [layer.name for layer in base.layers]
    if fine_tune_at != AUTO:
        return layer_index("fine_tune_at", fine_tune_at, names)
    middle = range(math.ceil(0.6 * len(names)), int(0.7 * len(names)) + 1)
    candidates = [index for index in middle if hasattr(base.layers[index], "kernel")]
    return min(candidates, key=lambda index: count_numbers(frontier(base, live=names[index:])))
