"""What a model's file says about the model, which is read without TensorFlow."""

import base64
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transfer.core.errors import UserError, one_line
from transfer.models.familiarity import Familiarity

# Written by Keras, which reads only its own version from it. There is no entry of our own, since
# Keras would unpack an archive of more than three on the disk.
METADATA = "metadata.json"
DESCRIPTION, FAMILIARITY = "description", "familiarity"  # what we add; the latter in base64


@dataclass(frozen=True)
class Description:
    """What a user of a model has to know about it. It is stored inside the model's file.

    classes: Their names, in the order of the logits.
    crop_to_aspect_ratio: As the parameter of that name: how images are made square.
    temperature: What its logits were divided by; None: they were not.
    familiar_from: The score from which on an image is familiar; None: the model has no such score.
    """

    classes: list[str]
    crop_to_aspect_ratio: bool
    temperature: float | None = None
    familiar_from: float | None = None


def read_description(path: Path) -> Description:
    """Read the description of a model.

    Args:
        path: A .keras file that `save_model` wrote.

    Raises:
        UserError: The file is not a model of this pipeline.
    """
    try:
        with zipfile.ZipFile(path) as saved:
            return Description(**json.loads(saved.read(METADATA))[DESCRIPTION])
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError):
        raise UserError(f"{path} is not a model of this pipeline; dvc repro makes one") from None


def read_familiarity(path: Path) -> Familiarity | None:
    """Read what a model's file has about the training images, if anything.

    Args:
        path: As for `read_description`.

    Raises:
        UserError: It is damaged.
    """
    try:
        with zipfile.ZipFile(path) as saved:
            stored = json.loads(saved.read(METADATA)).get(FAMILIARITY)
        if stored is None:
            return None
        content = io.BytesIO(base64.b64decode(stored, validate=True))
        return Familiarity.from_array(np.load(content, allow_pickle=False))  # noqa: TID251
    except (zipfile.BadZipFile, EOFError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is damaged: {FAMILIARITY} in it can't be read: {one_line(error)}; "
            "dvc repro makes it again"
        ) from None
