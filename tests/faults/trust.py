"""Damage saved models, weights and arrays, each time in another place, and load what is left.

python -m tests.faults.trust [--short]
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.faults.table import record
from transfer.core.errors import UserError
from transfer.data.arrays import StoredArray
from transfer.models.backbones import build_base, load_weights
from transfer.models.classifier import build_classifier, load_model, save_model
from transfer.models.description import Description

SIZE = 32  # of the pictures, in pixels
END = 4096  # bytes: most of a file's structure is as near to its beginning or its end


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    """Return the file cut, or with a byte changed: anywhere, near its beginning or near its end."""
    near = min(END, len(whole))
    start, stop = [(0, len(whole)), (0, near), (len(whole) - near, len(whole))][rng.integers(3)]
    place = int(rng.integers(start, stop))
    if rng.random() < 0.3:
        return whole[:place]
    return whole[:place] + bytes([whole[place] ^ rng.integers(1, 256)]) + whole[place + 1 :]


def count_wrong(path: Path, load: Callable[[], bool], count: int) -> int:
    """Return how often `load` raised anything but a UserError of one line, or returned False."""
    whole, rng, wrong = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(count):
        path.write_bytes(damaged(whole, rng))
        try:
            right = load()
        except UserError as error:
            right = "\n" not in str(error) and str(path) in str(error)
        except Exception as error:
            print(f"{path.name}: {error!r}", file=sys.stderr)
            right = False
        wrong += not right
    return wrong


def main() -> None:
    counts = (10, 10, 1000) if "--short" in sys.argv else (300, 300, 20_000)
    with tempfile.TemporaryDirectory() as name:
        model, weights, array = (Path(name, n) for n in ("a.keras", "a.weights.h5", "a.npy"))
        base = build_base("MobileNetV2", SIZE)
        base.save_weights(weights)
        classifier = build_classifier(base, "MobileNetV2", 2, dropout=0, seed=0)
        saved = classifier.get_weights()
        save_model(classifier, model, Description(["cats", "dogs"], True))
        np.save(array, np.zeros((20, 3), np.float16))

        def load_same_model() -> bool:
            return all(map(np.array_equal, load_model(model).get_weights(), saved))

        def load_weights_file() -> bool:
            load_weights(base, weights)
            return True

        def load_rows() -> bool:
            StoredArray(array)[np.arange(2)]
            return True

        wrong = [
            count_wrong(path, load, count)
            for path, load, count in zip(
                (model, weights, array),
                (load_same_model, load_weights_file, load_rows),
                counts,
                strict=True,
            )
        ]
    refused = "refused in one line that names it"
    faults = (
        ("model.keras cut or a byte of it changed", f"{refused}, or has the same weights"),
        ("weights.h5 cut or a byte of it changed", f"{refused}, or loaded: HDF5 has no checksum"),
        (".npy cut or a byte of it changed", f"{refused}, or other numbers: it has no checksum"),
    )
    rows = zip(faults, counts, wrong, strict=True)
    record("trust", [(fault, count, expected, bad) for (fault, expected), count, bad in rows])


if __name__ == "__main__":
    main()
