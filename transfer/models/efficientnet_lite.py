"""EfficientNet-Lite0, which keras.applications lacks.

It is EfficientNet-B0 without squeeze-and-excitation and with ReLU6, so that it is fast and keeps
its accuracy in int8. Its layers have the names that keras.applications gives those of B0.
"""

from string import ascii_lowercase

import numpy as np

from transfer.core.runtime import keras

# Of each stage: repeats, kernel size, strides of the first block, expansion, channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def EfficientNetLite0(input_shape: tuple[int, int, int], **_: object) -> keras.Model:
    """Build EfficientNet-Lite0 without its top, with random weights.

    Args:
        input_shape: Height, width and channels of the images.
        _: What else the functions of keras.applications take: that there is no top, for example.

    Returns:
        A model from preprocessed pixels, float32 [N, H, W, 3], to feature maps, float32
        [N, H / 32, W / 32, 1280], rounded up.
    """
    inputs = keras.Input(input_shape)
    x = _normalized(_convolution(32, 3, "stem_conv", strides=2)(inputs), "stem_bn")
    x = keras.layers.ReLU(6, name="stem_activation")(x)
    for number, (repeats, kernel, strides, expansion, channels) in enumerate(STAGES, start=1):
        for letter in ascii_lowercase[:repeats]:
            first = letter == "a"
            y = _block(
                x, kernel, strides if first else 1, expansion, channels, f"block{number}{letter}_"
            )
            x = y if first else keras.layers.Add(name=f"block{number}{letter}_add")([y, x])
    x = _normalized(_convolution(1280, 1, "top_conv")(x), "top_bn")
    return keras.Model(inputs, keras.layers.ReLU(6, name="top_activation")(x))


def preprocess_input(pixels: np.ndarray) -> np.ndarray:
    """Return pixels, from 0 to 255, in the range that the model was trained on."""
    return (pixels - 127) / 128


def _block(
    x: keras.KerasTensor, kernel: int, strides: int, expansion: int, channels: int, name: str
) -> keras.KerasTensor:
    """Expand the channels by 1x1, convolve each, and project them; all names start with `name`."""
    if expansion > 1:
        x = _convolution(expansion * x.shape[-1], 1, f"{name}expand_conv")(x)
        x = _normalized(x, f"{name}expand_bn")
        x = keras.layers.ReLU(6, name=f"{name}expand_activation")(x)
    x = keras.layers.DepthwiseConv2D(
        kernel, strides, padding="same", use_bias=False, name=f"{name}dwconv"
    )(x)
    x = keras.layers.ReLU(6, name=f"{name}activation")(_normalized(x, f"{name}bn"))
    return _normalized(_convolution(channels, 1, f"{name}project_conv")(x), f"{name}project_bn")


def _convolution(channels: int, kernel: int, name: str, strides: int = 1) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(channels, kernel, strides, "same", use_bias=False, name=name)


def _normalized(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Normalize feature maps, with the epsilon and the momentum that are Keras' default too."""
    return keras.layers.BatchNormalization(name=name)(x)
