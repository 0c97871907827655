"""A delivered model at work on pictures of any kind, with nothing of the training at hand."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transfer.engine import keras
from transfer.features import extract_from_pixels, pooled_base
from transfer.images import try_to_read
from transfer.model import Description, load_model, read_description
from transfer.prediction import probabilities_of


@dataclass(frozen=True)
class Served:
    """A classifier, the names of its classes among its description.

    predict: From uint8 pixels [N, H, W, 3] to probabilities, float32 [N, C]; far faster than
        Keras on a CPU, and the same to 1e-4.
    """

    classifier: keras.Model
    description: Description
    predict: Callable[[np.ndarray], np.ndarray]

    def read(self, path: Path) -> np.ndarray | str:
        """Decode a picture, uint8 [H, W, 3], or say why it can't be."""
        size = self.classifier.input_shape[1]
        pixels, reason = try_to_read(path, size, self.description.crop_to_aspect_ratio)
        return reason if pixels is None else pixels


def serve(path: Path) -> Served:
    """Load a delivered model.

    Raises:
        UserError: There is none, or it is none of this pipeline's.
    """
    classifier, description = load_model(path), read_description(path)
    return Served(classifier, description, compile_classifier(classifier))


def compile_classifier(classifier: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Compile all of a classifier, BatchNormalization folded, in the fastest engine."""
    base = pooled_base(classifier, "float32")
    logits = classifier.get_layer("head").layers[-1](base.output)
    extract = extract_from_pixels(
        keras.Model(base.input, logits), classifier.get_layer("preprocessing")
    )
    return lambda pixels: probabilities_of(extract(pixels)[0])
