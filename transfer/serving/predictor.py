"""Predict the class of any image with a delivered model, without any data of the training."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from transfer.core.runtime import keras
from transfer.evaluation.prediction import to_probabilities
from transfer.models.classifier import (
    Description,
    load_model,
    read_description,
    read_familiarity,
)
from transfer.models.familiarity import Familiarity
from transfer.models.features import extract_from_pixels, pooled_base
from transfer.preprocessing.decoding import try_decode

# From uint8 pixels [N, H, W, 3] to probabilities, float32 [N, C], and to the pooled features of the
# base, float32 [N, D].
PredictWithFeatures = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Predictor:
    """A classifier that is ready to predict.

    classifier: As it was trained, for Grad-CAM.
    description: Holds the names of the classes.
    predict_with_features: Runs the compiled classifier once; far faster than Keras on a CPU, and
        equal to 1e-4.
    familiarity: Tells how familiar an image is, if the model has been saved with it.
    """

    classifier: keras.Model
    description: Description
    predict_with_features: PredictWithFeatures
    familiarity: Familiarity | None = None

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        """Return the probability of each class, float32 [N, C], for uint8 pixels [N, H, W, 3]."""
        probabilities, _ = self.predict_with_features(pixels)
        return probabilities

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return probabilities, float32 [N, C], and how familiar images are, float32 [N], or None.

        Args:
            pixels: uint8 [N, H, W, 3].
        """
        probabilities, features = self.predict_with_features(pixels)
        return probabilities, self.score(features, probabilities)

    def score(self, features: np.ndarray, probabilities: np.ndarray) -> np.ndarray | None:
        """Return how familiar images are, float32 [N]; None if the model can't tell.

        An image is familiar from `description.familiar_from` on.

        Args:
            features: float32 [N, D].
            probabilities: float32 [N, C].
        """
        if self.familiarity is None:
            return None
        return keras.ops.convert_to_numpy(self.familiarity.score(features, probabilities))

    def decode(self, file: Path | BinaryIO) -> np.ndarray | str:
        """Decode an image to uint8 [H, W, 3]; return the reason in one line if that fails."""
        size = self.classifier.input_shape[1]
        pixels, reason = try_decode(file, size, self.description.crop_to_aspect_ratio)
        return reason if pixels is None else pixels


def load_predictor(path: Path) -> Predictor:
    """Load a delivered model.

    Raises:
        UserError: There is no file, or it is not a model of this pipeline.
    """
    classifier, description = load_model(path), read_description(path)
    return Predictor(
        classifier, description, compile_classifier(classifier), read_familiarity(path)
    )


def compile_classifier(classifier: keras.Model) -> PredictWithFeatures:
    """Compile the whole classifier, BatchNormalization folded, for the fastest runtime."""
    base = pooled_base(classifier, "float32")
    logits = classifier.get_layer("head").layers[-1](base.output)
    extract = extract_from_pixels(
        keras.Model(base.input, [logits, base.output]), classifier.get_layer("preprocessing")
    )

    def predict_with_features(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits, features = extract(pixels)
        return to_probabilities(logits), features

    return predict_with_features
