"""Small classifiers, splits of random images, and training on them."""

import hashlib
from dataclasses import replace
from functools import lru_cache

import h5py
import numpy as np
from ruamel.yaml import YAML

from tests.helpers.project import PROJECT
from transfer.core.params import Params
from transfer.core.recipes import fill
from transfer.core.runtime import keras
from transfer.data.dataset import IMAGES, Split
from transfer.data.shards import StoredImages, cut, keys_of, write_shard
from transfer.evaluation import prediction
from transfer.models.backbones import build_base
from transfer.models.classifier import build_classifier
from transfer.models.compiled import CompiledClassifier
from transfer.models.description import Description
from transfer.models.features import compile_base
from transfer.training.augmentation import build_augmentation
from transfer.training.features import compute_features
from transfer.training.loop import Loop, fit
from transfer.training.targets import Targets

VALUES = YAML(typ="safe").load(PROJECT / "params.yaml")
PARAMS = Params.model_validate(fill(VALUES | {"recipe": "tutorial"}))
NO_AUGMENTATION = {
    "flip": "none",
    "rotation": 0.0,
    "random_resized_crop": 0.0,
    "color_jitter": 0.0,
    "random_erasing": 0.0,
    "mixup": 0.0,
}


def make_augmentation(seed=0, **params):
    """Return the augmentation of these parameters; the others switch nothing on."""
    params = {"seed": seed} | NO_AUGMENTATION | params
    return build_augmentation(PARAMS.model_copy(update=params))


AUGMENTATION = make_augmentation(flip="horizontal", rotation=0.2)


def make_split(image_count=10, classes=2, size=32):
    rng = np.random.default_rng(0)
    labels = np.arange(image_count) % classes
    images = rng.integers(0, 40, (2 * image_count, size, size, 3), np.uint8)
    rows = np.arange(image_count) * 2  # every other row belongs to another split
    images[rows] += (labels * 100).astype(np.uint8)[:, None, None, None]
    return Split(images, rows, labels, [], [str(c) for c in range(classes)])


def stored_split(folder, split):
    """Return the same split, its images in shards in a folder, as the pipeline has them."""
    return replace(split, images=store(folder / IMAGES, split.images))


def store(folder, images, hashes=None):
    """Write images, uint8 [N, H, W, 3], into shards; without hashes, of what their numbers are."""
    numbers = range(len(images))
    keys = keys_of(hashes or [hashlib.sha256(b"%d" % number).hexdigest() for number in numbers])
    folder.mkdir(parents=True)
    for bits, indices in cut(keys):
        write_shard(folder, bits, images[indices])
    return StoredImages(folder, keys)


@lru_cache(maxsize=1)
def base_weights():
    """Return random weights with which features differ between images, also in float16.

    The moving statistics are those of some images. With Keras' own, all features are nearly 0.
    """
    keras.utils.set_random_seed(1)
    base, split = build_base("MobileNetV2", 32), make_split()
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    base(split.images[split.rows] / np.float32(127.5) - 1, training=True)
    return base.get_weights()


def make_classifier(classes=2, seed=0):
    base = build_base("MobileNetV2", 32)
    base.set_weights(base_weights())
    return build_classifier(base, "MobileNetV2", classes, 0.2, seed)


def compiled(classifier, familiarity=None):
    """Return a classifier as it is loaded from its file to predict."""
    classes = max(2, classifier.output_shape[1])
    description = Description([str(c) for c in range(classes)], crop_to_aspect_ratio=False)
    dense = classifier.get_layer("head").layers[-1].get_weights()
    size, base = classifier.input_shape[1], compile_base(classifier)
    return CompiledClassifier(size, base, *dense, description, familiarity)


def predict(classifier, split):
    """Return the probabilities of a split's images, float32 [N, C]."""
    probabilities, _ = prediction.predict(compiled(classifier), split, "images")
    return probabilities


def train(classifier, split, epochs=2, optimizer=None, precision="float32", **options):
    features = compute_features(classifier, split, split, AUGMENTATION, precision)
    return fit_on(features, classifier, split, epochs, optimizer, **options)


OF_LOOP = ("first_epoch", "patience", "callbacks")


def fit_on(features, classifier, split, epochs, optimizer=None, **options):
    optimizer = optimizer or keras.optimizers.Adam(1e-3)
    targets = options.pop("targets", Targets(split))
    of_loop = {name: options.pop(name) for name in OF_LOOP if name in options}
    loop = Loop(batch_size=4, seed=0, epochs=epochs, **of_loop)
    return fit(classifier, optimizer, features, (targets, Targets(split)), loop, **options)


def write_keras_2(base, path):
    """Write what Keras 2 wrote and Keras' storage holds: a group a layer, names as attributes."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in base.layers]
        for layer in base.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.weights, strict=True):
                group[name] = weight.numpy()
