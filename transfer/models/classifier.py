"""The classifier: raw pixels, preprocessing, a base and a new head."""

import io
import json
import re
import zipfile
from collections import defaultdict
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from transfer.core.errors import UserError, one_line
from transfer.core.files import replacing
from transfer.core.runtime import keras
from transfer.models.backbones import build_preprocessing

METADATA = "metadata.json"  # of Keras, which reads no more of it than its version


def build_classifier(
    base: keras.Model, backbone: str, classes: int, dropout: float, seed: int
) -> keras.Model:
    """Build the tutorial's model on `base`, which is frozen, a `backbone` of keras.applications.

    It is made of three named layers: `preprocessing`, `base` and `head`. The augmentation is no
    part of it (transfer/training/augmentation.py): it is at work in training only.

    Returns:
        A model from uint8 pixels [N, H, W, 3] to logits: [N, 1] for two classes, the logit of the
        second one, else [N, classes].
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


def load_base(base: keras.Model, path: Path) -> None:
    """Load a weights file of Keras (.h5 of Keras 2, .weights.h5 of Keras 3) into `base`.

    Raises:
        UserError: It is damaged or holds the weights of another model.
    """
    try:
        base.load_weights(path)
    except Exception as error:  # each damage raises something else
        raise UserError(
            f"{path} doesn't hold the weights of the backbone without its top, or is damaged: "
            f"{one_line(error)}; set base_weights to another file, or if it is the pipeline's own, "
            "dvc repro makes it again"
        ) from None


def unfreeze(base: keras.Model, index: int) -> None:
    """Make the layers from `index` up trainable, and those below not."""
    base.trainable = True
    for number, layer in enumerate(base.layers):  # a loaded model does not pass it on to all
        layer.trainable = number >= index


def count_trainable_parameters(model: keras.Model) -> int:
    """Return the number of trainable parameters."""
    return sum(int(variable.value.shape.num_elements()) for variable in model.trainable_variables)


@dataclass(frozen=True)
class Description:
    """What a model's user has to know of it; it is inside the model's file."""

    classes: list[str]
    crop_to_aspect_ratio: bool


def save_model(model: keras.Model, path: Path, description: Description) -> None:
    """Save `model` as a .keras file; equal models give equal bytes, which Keras' own don't."""
    with replacing(path) as temporary:
        model.save(temporary)
        entries = io.BytesIO(temporary.read_bytes())
        with zipfile.ZipFile(entries) as saved, zipfile.ZipFile(temporary, "w") as stable:
            for name in sorted(saved.namelist()):  # ZipInfo's date is fixed
                content = _stable(name, saved.read(name), asdict(description))
                stable.writestr(zipfile.ZipInfo(name), content)


def _stable(name: str, content: bytes, description: dict) -> bytes:
    """Drop Keras' date of saving; number shared objects, which it tells by their addresses."""
    if name == METADATA:
        metadata = json.loads(content) | {"date_saved": "", "description": description}
        return json.dumps(metadata).encode()
    if name == "config.json":
        numbers = defaultdict(count(1).__next__)
        return re.sub(
            rb'(?<="shared_object_id": )\d+', lambda match: b"%d" % numbers[match[0]], content
        )
    return content


def read_description(path: Path) -> Description:
    """Read what `save_model` wrote besides the model.

    Raises:
        UserError: It is none of this pipeline's models.
    """
    try:
        with zipfile.ZipFile(path) as saved:
            return Description(**json.loads(saved.read(METADATA))["description"])
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError):
        raise UserError(f"{path} is no model of this pipeline; dvc repro makes one") from None


def load_model(path: Path) -> keras.Model:
    """Load a model that `save_model` wrote, in Keras' safe mode, not compiled.

    Raises:
        UserError: The file is damaged, or would run code of its own, such as a Lambda layer's.
    """
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)  # noqa: TID251
    except Exception as error:  # each damage raises something else
        raise UserError(
            f"{path} is damaged or no model of this pipeline: {one_line(error)}; "
            "dvc repro makes it again"
        ) from None
