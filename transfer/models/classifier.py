"""The classifier: raw pixels, preprocessing, a base and a new head."""

import base64
import io
import json
import re
import zipfile
from collections import defaultdict
from dataclasses import asdict
from itertools import count
from pathlib import Path

import numpy as np

from transfer.core.errors import UserError, one_line
from transfer.core.files import check_exists, replacing
from transfer.core.runtime import keras
from transfer.models.backbones import build_preprocessing
from transfer.models.description import DESCRIPTION, FAMILIARITY, METADATA, Description
from transfer.models.familiarity import Familiarity


def build_classifier(
    base: keras.Model, backbone: str, classes: int, dropout: float, seed: int
) -> keras.Model:
    """Build the tutorial's model: preprocessing, a frozen base and a new head.

    These are its three layers: `preprocessing`, `base` and `head`. Augmentation is not part of the
    model, since only training needs it (transfer/training/augmentation.py).

    Args:
        base: Made by `build_base`; frozen here.
        backbone: Its name, which decides the preprocessing.
        classes: Number of classes, from 2.
        dropout: Rate of the dropout before the last layer.
        seed: Of the head's first weights; seed + 1 is that of the dropout.

    Returns:
        A model from pixels, uint8 [N, H, W, 3], to logits, float32: [N, 1] for two classes, the
        logit of the second one, or else [N, classes].
    """
    initializer = keras.initializers.GlorotUniform(seed=seed)
    base.trainable = False

    inputs = keras.Input(base.input_shape[1:], dtype="uint8", name="pixels")
    x = base(build_preprocessing(backbone)(inputs), training=False)
    head = [
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dropout(dropout, seed=seed + 1),
        keras.layers.Dense(1 if classes == 2 else classes, kernel_initializer=initializer),
    ]
    outputs = keras.Sequential(head, name="head")(x)
    return keras.Model(inputs, outputs, name="classifier")


def unfreeze(base: keras.Model, index: int) -> None:
    """Make the layers from `index` up trainable, and freeze those below.

    Args:
        base: Changed in place.
        index: Of the first trainable layer, in `base.layers`; `len(base.layers)`: freeze all.
    """
    base.trainable = True
    for number, layer in enumerate(base.layers):  # a loaded base does not pass it on to all layers
        layer.trainable = number >= index


def count_trainable_parameters(model: keras.Model) -> int:
    """Return the number of trainable parameters."""
    return sum(int(variable.value.shape.num_elements()) for variable in model.trainable_variables)


def save_model(
    model: keras.Model,
    path: Path,
    description: Description,
    familiarity: Familiarity | None = None,
) -> None:
    """Save a model as a .keras file; equal models give equal bytes, unlike with Keras alone.

    Args:
        model: The classifier.
        path: Of the file, which is replaced whole or not at all.
        description: Stored inside the file.
        familiarity: Stored inside the file, too, if there is any.
    """
    more = {DESCRIPTION: {name: v for name, v in asdict(description).items() if v is not None}}
    if familiarity:
        array = io.BytesIO()
        np.save(array, familiarity.to_array())
        more[FAMILIARITY] = base64.b64encode(array.getvalue()).decode()
    with replacing(path) as temporary:
        model.save(temporary)
        entries = io.BytesIO(temporary.read_bytes())
        with zipfile.ZipFile(entries) as saved, zipfile.ZipFile(temporary, "w") as stable:
            for name in sorted(saved.namelist()):  # ZipInfo's date is fixed
                content = _stable(name, saved.read(name), more)
                stable.writestr(zipfile.ZipInfo(name), content)


def _stable(name: str, content: bytes, more: dict) -> bytes:
    """Return an entry of the .keras file without what differs from run to run.

    That is the date of saving, and the memory addresses by which Keras identifies shared objects,
    which are numbered instead.

    Args:
        name: Of the entry in the ZIP archive.
        content: What Keras wrote.
        more: Added to the metadata.
    """
    if name == METADATA:
        metadata = json.loads(content) | {"date_saved": ""} | more
        return json.dumps(metadata).encode()
    if name == "config.json":
        numbers = defaultdict(count(1).__next__)
        return re.sub(
            rb'(?<="shared_object_id": )\d+', lambda match: b"%d" % numbers[match[0]], content
        )
    return content


def load_model(path: Path) -> keras.Model:
    """Load a model that `save_model` wrote, in Keras' safe mode, not compiled.

    Raises:
        UserError: The file is missing or damaged, or contains code to run.
    """
    check_exists(path)
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)  # noqa: TID251
    except Exception as error:  # each kind of damage raises another one
        raise UserError(
            f"{path} is damaged or not a model of this pipeline: {one_line(error)}; "
            "dvc repro makes it again"
        ) from None
