"""Run the ONNX export of a classifier, without TensorFlow."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnxruntime

from transfer.core.errors import UserError, one_line
from transfer.preprocessing.decoding import try_decode

PIXELS, PROBABILITIES, FAMILIARITY = "pixels", "probabilities", "familiarity"
DESCRIPTION = "description"  # the property of an .onnx file that holds a `Description` as JSON


@dataclass(frozen=True)
class Description:
    """What a user of an export has to know about it. It is stored inside the .onnx file.

    classes: Their names, in the order of the probabilities.
    crop_to_aspect_ratio: As the parameter of that name: how images are made square.
    model_sha256: Of the .keras file that was exported.
    version: What `git describe` said when it was exported; None without git.
    familiar_from: The least familiarity of an image that is like those of the training; or None.
    """

    classes: list[str]
    crop_to_aspect_ratio: bool
    model_sha256: str
    version: str | None
    familiar_from: float | None


@dataclass(frozen=True)
class Engine:
    """An export that is ready to predict; several threads may use it at a time.

    session: Computes in the thread that calls it.
    description: Holds the names of the classes.
    """

    session: onnxruntime.InferenceSession
    description: Description

    @property
    def size(self) -> int:
        """Height and width of the images that it takes, in pixels."""
        return self.session.get_inputs()[0].shape[1]

    def decode(self, file: Path | BinaryIO) -> np.ndarray | str:
        """Decode an image to uint8 [H, W, 3]; return the reason in one line if that fails."""
        pixels, reason = try_decode(file, self.size, self.description.crop_to_aspect_ratio)
        return reason if pixels is None else pixels

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return probabilities, float32 [N, C], and how familiar images are, float32 [N], or None.

        Args:
            pixels: uint8 [N, H, W, 3].
        """
        known = (PROBABILITIES, FAMILIARITY)
        names = [output.name for output in self.session.get_outputs() if output.name in known]
        outputs = dict(zip(names, self.session.run(names, {PIXELS: pixels}), strict=True))
        return outputs[PROBABILITIES], outputs.get(FAMILIARITY)

    def predict(self, pixels: np.ndarray) -> list[dict]:
        """Predict some images.

        Args:
            pixels: uint8 [N, H, W, 3].

        Returns:
            For each image what `python -m scripts.predict --json` prints, without its name;
            `familiarity` and `familiar` are None if the export has no familiarity.
        """
        probabilities, familiarity = self.run(pixels)
        scores = [None] * len(pixels) if familiarity is None else familiarity
        return [self._answer(*row) for row in zip(probabilities, scores, strict=True)]

    def _answer(self, probabilities: np.ndarray, familiarity: np.float32 | None) -> dict:
        rounded = np.round(probabilities.astype(float), 5).tolist()
        best, threshold = probabilities.argmax(), self.description.familiar_from
        unknown = familiarity is None or threshold is None
        return {
            "class": self.description.classes[best],
            "probability": rounded[best],
            "probabilities": dict(zip(self.description.classes, rounded, strict=True)),
            "familiarity": None if familiarity is None else round(float(familiarity), 5),
            "familiar": None if unknown else bool(familiarity >= threshold),
        }


def load_engine(path: Path) -> Engine:
    """Load an .onnx file that `make export` wrote.

    Raises:
        UserError: There is no file, or it is not an export of this pipeline.
    """
    if not path.is_file():
        raise UserError(f"there is no {path}; `make export` makes it from models/model.keras")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # each core computes images of its own
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        properties = session.get_modelmeta().custom_metadata_map
        return Engine(session, Description(**json.loads(properties[DESCRIPTION])))
    except Exception as error:  # ONNX Runtime has one for each kind of damage
        raise UserError(
            f"{path}: expected an .onnx file that this version of the pipeline exported; received "
            f"{type(error).__name__}: {one_line(error)}; `make export` makes it again"
        ) from None
