"""Run converted layers in ONNX Runtime, without TensorFlow."""

import os
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from transfer.core.parallel import CORES, map_in_threads
from transfer.data.shards import StoredImages

Inference = Callable[..., list[np.ndarray]]
Result = TypeVar("Result")
# Runtime of frozen layers and of finished models on a CPU: onnxruntime or tensorflow.
FROZEN_RUNTIME = os.environ.get("TRANSFER_FROZEN_RUNTIME", "onnxruntime")
# Images at a time in ONNX Runtime: MobileNetV2's largest tensor is 112x112x96 floats per image, 10
# MB for 2 images, which stay in the CPU's cache. The results are equal to the bit for any number.
IMAGES_IN_CACHE = 2
BATCH_SIZE = 32  # each core has one batch


class OnnxInference:
    """A function from arrays to a list of arrays, which several threads may call at a time."""

    def __init__(self, model: bytes) -> None:
        """Load a serialized ONNX model.

        Raises:
            Exception: ONNX Runtime has one for each kind of damage.
        """
        import onnxruntime  # may be missing

        self.model = model
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # each core computes a batch of its own
        options.log_severity_level = 3  # errors; a warning names each constant that is not used
        providers = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(model, options, providers=providers)
        self.names = [argument.name for argument in self.session.get_inputs()]

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        """Return the model's outputs for its inputs, arrays [N, …], both in the model's order."""
        named, step = list(zip(self.names, arrays, strict=True)), IMAGES_IN_CACHE
        parts = [
            self.session.run(None, {name: array[i : i + step] for name, array in named})
            for i in range(0, len(arrays[0]), step)
        ]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]


def map_rows(
    function: Callable[[np.ndarray], Result], images: StoredImages, rows: np.ndarray, task: str
) -> Iterator[Result]:
    """Yield what a function makes of images, batch by batch, on all cores.

    Args:
        function: Of uint8 pixels [B, H, W, 3].
        images: uint8 [M, H, W, 3].
        rows: Indices into `images`, int [N], at least one.
        task: For the progress bar.
    """
    batches = np.split(rows, range(BATCH_SIZE, len(rows), BATCH_SIZE))
    bar = tqdm(batches, desc=task, unit=" batches", delay=2, disable=None)
    return map_in_threads(lambda batch: function(images[batch]), bar, 2 * CORES)


def extract_rows(
    extract: Callable[[np.ndarray], np.ndarray], images: StoredImages, rows: np.ndarray
) -> np.ndarray:
    """Return the features of some images, float32 [N, D].

    Args:
        extract: From uint8 pixels [B, H, W, 3] to features, float32 [B, D].
        images: As for `map_rows`.
        rows: As for `map_rows`.
    """
    return np.concatenate(list(map_rows(extract, images, rows, "features")))
