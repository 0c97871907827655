"""The classifier: raw pixels, preprocessing, a base and a new head."""

import io
import json
import re
import zipfile
from collections import defaultdict
from itertools import count
from pathlib import Path

from transfer.backbones import build_preprocessing
from transfer.engine import keras
from transfer.files import replacing


def build_classifier(
    base: keras.Model, backbone: str, classes: int, dropout: float, seed: int
) -> keras.Model:
    """Build the tutorial's model on `base`, which is frozen, a `backbone` of keras.applications.

    It is made of three named layers: `preprocessing`, `base` and `head`. The augmentation is no
    part of it (transfer/augmentation.py): it is at work in training only.

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


def unfreeze(base: keras.Model, index: int) -> None:
    """Make the layers from `index` up trainable, and those below not."""
    base.trainable = True
    for number, layer in enumerate(base.layers):  # a loaded model does not pass it on to all
        layer.trainable = number >= index


def count_trainable_parameters(model: keras.Model) -> int:
    """Return the number of trainable parameters."""
    return sum(int(variable.value.shape.num_elements()) for variable in model.trainable_variables)


def save_model(model: keras.Model, path: Path) -> None:
    """Save `model` as a .keras file; equal models give equal bytes, which Keras' own don't."""
    with replacing(path) as temporary:
        model.save(temporary)
        entries = io.BytesIO(temporary.read_bytes())
        with zipfile.ZipFile(entries) as saved, zipfile.ZipFile(temporary, "w") as stable:
            for name in sorted(saved.namelist()):  # ZipInfo's date is fixed
                stable.writestr(zipfile.ZipInfo(name), _without_date_and_addresses(saved, name))


def _without_date_and_addresses(saved: zipfile.ZipFile, name: str) -> bytes:
    """Drop Keras' date of saving; number shared objects, which it tells by their addresses."""
    content = saved.read(name)
    if name == "metadata.json":
        return json.dumps(json.loads(content) | {"date_saved": ""}).encode()
    if name == "config.json":
        numbers = defaultdict(count(1).__next__)
        return re.sub(
            rb'(?<="shared_object_id": )\d+', lambda match: b"%d" % numbers[match[0]], content
        )
    return content


def load_model(path: Path) -> keras.Model:
    """Load a model that `save_model` wrote, in Keras' safe mode, not compiled."""
    return keras.models.load_model(path, compile=False, safe_mode=True)
