"""A saved classifier, ready to predict without TensorFlow, which takes seconds to load.

Its base is converted to ONNX where it was trained or else when it is first used. It is kept in the
user's cache, under a hash of all that the conversion depends on. NumPy computes the last layer.
"""

import io
import sys
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
from scipy.special import expit, softmax

from transfer.core.errors import one_line
from transfer.core.files import (
    cache_folder,
    check_exists,
    files_of,
    hash_of,
    remove_unused,
    replacing,
    sha256,
)
from transfer.models.description import Description, read_description, read_familiarity
from transfer.models.familiarity import Familiarity
from transfer.models.inference import FROZEN_RUNTIME, Inference, OnnxInference

ROOM = Path(__file__).parent
LIBRARIES = ("keras", "onnx", "tensorflow", "tf2onnx")


@dataclass(frozen=True)
class CompiledClassifier:
    """A classifier that is ready to predict; several threads may use it at a time.

    size: Height and width of its images, in pixels.
    base: What `compile_base` returned.
    kernel: Of its last layer, float32 [D, 1] for two classes, or [D, classes].
    bias: Of its last layer, float32 [1] or [classes].
    description: Holds the names of the classes.
    familiarity: Tells how familiar an image is, if the model has been saved with it.
    """

    size: int
    base: Inference
    kernel: np.ndarray
    bias: np.ndarray
    description: Description
    familiarity: Familiarity | None

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return probabilities, float32 [N, C], and how familiar images are, float32 [N], or None.

        Args:
            pixels: uint8 [N, H, W, 3].
        """
        probabilities, features = self.predict_with_features(pixels)
        return probabilities, self.score(features, probabilities)

    def predict_with_features(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities, float32 [N, C], and the pooled features, float32 [N, D]."""
        features, _ = self.base(pixels)
        return to_probabilities(features @ self.kernel + self.bias), features

    def score(self, features: np.ndarray, probabilities: np.ndarray) -> np.ndarray | None:
        """Return how familiar images are, float32 [N]; None if the model can't tell.

        An image is familiar from `description.familiar_from` on.

        Args:
            features: float32 [N, D].
            probabilities: float32 [N, C].
        """
        return self.familiarity and self.familiarity.score(features, probabilities)


def to_probabilities(logits: np.ndarray) -> np.ndarray:
    """Convert logits to probabilities, float32 [N, classes].

    Args:
        logits: float32 [N, 1], the logit of the second of two classes; or [N, classes].
    """
    if logits.shape[1] == 1:
        second = expit(logits)
        return np.hstack([1 - second, second])
    return softmax(logits, axis=1)


def load_compiled(model: Path) -> CompiledClassifier:
    """Load a classifier that `save_model` wrote, and convert it if that has not been done.

    Raises:
        UserError: There is no file, or it is not a model of this pipeline.
    """
    check_exists(model)
    description, familiarity = read_description(model), read_familiarity(model)
    base, size = _kept_base(model) or _convert(model)
    return CompiledClassifier(size, base, *_last_layer(model), description, familiarity)


def keep(model: Path, base: Inference | None) -> None:
    """Keep the compiled base of a model for later starts; if that fails, only say so.

    Args:
        model: The file that `save_model` wrote.
        base: What `compile_base` returned; if ONNX Runtime does not run it, there is nothing to
            keep.
    """
    if not isinstance(base, OnnxInference):
        return
    path = _kept(model)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(base.model)
        remove_unused(path.parent)
    except OSError as error:  # a full disk, a home that is read-only
        print(
            f"warning: {model} can't be kept compiled, so that it takes seconds to load each time: "
            f"{one_line(error)}",
            file=sys.stderr,
        )


def _last_layer(model: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read kernel and bias of the last layer from a model's file."""
    with zipfile.ZipFile(model) as saved:
        weights = io.BytesIO(saved.read("model.weights.h5"))
    with h5py.File(weights) as file:
        # Keras numbers the groups by kind: the preprocessing may be a Sequential, too.
        groups = file["layers"].values()
        head = next(group for group in groups if group["vars"].attrs["name"] == "head")
        dense = head["layers/dense/vars"]
        return dense["0"][()], dense["1"][()]


def _kept_base(model: Path) -> tuple[Inference, int] | None:
    """Return the base that was kept and the size of its images, or None."""
    path = _kept(model)
    if FROZEN_RUNTIME != "onnxruntime" or not path.is_file():
        return None
    with suppress(Exception):  # it is damaged, or ONNX Runtime is missing
        base = OnnxInference(path.read_bytes())
        with suppress(OSError):  # the cache may be read-only
            path.touch()  # so that it counts as used
        return base, base.session.get_inputs()[0].shape[1]


def _convert(model: Path) -> tuple[Inference, int]:
    from transfer.models.classifier import load_model
    from transfer.models.features import compile_base

    classifier = load_model(model)
    base = compile_base(classifier)
    keep(model, base)
    return base, classifier.input_shape[1]


def _kept(model: Path) -> Path:
    """Return where the base of a model is kept."""
    code = [sha256(file) for file in files_of(ROOM)]
    key = hash_of([sha256(model), code, [version(name) for name in LIBRARIES]])[:32]
    return cache_folder() / "compiled" / f"{key}.onnx"
