"""Predict the class of any image with a delivered model, without any data of the training."""

from pathlib import Path
from typing import BinaryIO

import numpy as np

from transfer.models.compiled import CompiledClassifier, load_compiled
from transfer.preprocessing.decoding import try_decode


class Predictor(CompiledClassifier):
    """A classifier that decodes its images, too."""

    def decode(self, file: Path | BinaryIO) -> np.ndarray | str:
        """Decode an image to uint8 [H, W, 3]; return the reason in one line if that fails."""
        pixels, reason = try_decode(file, self.size, self.description.crop_to_aspect_ratio)
        return reason if pixels is None else pixels


def load_predictor(path: Path) -> Predictor:
    """Load a delivered model.

    Raises:
        UserError: There is no file, or it is not a model of this pipeline.
    """
    return Predictor(**vars(load_compiled(path)))
