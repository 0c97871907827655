"""A delivered model that predicts without TensorFlow, which takes seconds to load.

The first time that a user predicts with a model, it is converted to ONNX and kept in the user's
cache, under a hash of all that the conversion depends on.
"""

import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.core.errors import UserError, one_line
from transfer.core.files import (
    cache_folder,
    files_of,
    hash_of,
    remove_unused,
    replacing,
    sha256,
)
from transfer.serving.engine import Engine, load_engine

if TYPE_CHECKING:
    from transfer.serving.predictor import Predictor

ROOMS = Path(__file__).parents[1]
CODE = ("models", "serving", "evaluation/prediction.py")
LIBRARIES = ("keras", "onnx", "tensorflow", "tf2onnx")


def load_compiled(model: Path) -> "Engine | Predictor":
    """Load a delivered model for the fastest start.

    Args:
        model: A .keras file of this pipeline.

    Returns:
        An engine; or a predictor where the model can't be converted, or is not written.

    Raises:
        UserError: The file is not a model of this pipeline.
    """
    path = cache_folder() / "compiled" / f"{content_key(model)}.onnx"
    if path.is_file():
        with suppress(UserError):  # it is damaged
            engine = load_engine(path)
            with suppress(OSError):  # the cache may be read-only
                path.touch()  # so that it counts as used
            return engine

    from transfer.models.classifier import load_model, read_familiarity
    from transfer.serving.export import describe, freeze, write_onnx

    classifier, familiarity = load_model(model), read_familiarity(model)
    try:
        with replacing(path) as temporary:
            write_onnx(freeze(classifier, familiarity), temporary, describe(model, version=None))
        remove_unused(path.parent)
        return load_engine(path)
    except Exception as error:  # a full disk, a home that is read-only; an unknown operation
        from transfer.serving.predictor import load_predictor

        print(f"the next start will take as long: {one_line(error)}", file=sys.stderr)
        return load_predictor(model)


def content_key(model: Path) -> str:
    """Return a hash of a model, and of the code and the libraries that convert it."""
    code = [sha256(file) for part in CODE for file in files_of(ROOMS / part)]
    return hash_of([sha256(model), code, [version(name) for name in LIBRARIES]])[:32]
