"""Train in one of several processes or on several devices: python -m tests.helpers.several OUT"""

import sys

import numpy as np

from tests.helpers.models import make_augmentation, make_classifier, make_split
from transfer.core.processes import read_launch
from transfer.core.runtime import keras
from transfer.models.classifier import unfreeze
from transfer.training.features import compute_features
from transfer.training.loop import Loop, fit
from transfer.training.strategy import build_replicas
from transfer.training.targets import Targets

RECIPE = make_augmentation(flip="horizontal", rotation=0.2, mixup=0.2)
RANDOM = {"dropout": 0.5, "precision": "mixed_float16", "patience": 1}


def train(replicas=None, dropout=0.0, precision="float32", patience=0):
    """Train on mixed and weighted images, 9 in batches of 4: two replicas share the last one.

    Returns:
        History, of the chief, and all the weights.
    """
    split = make_split(image_count=9, classes=3)
    classifier = make_classifier(classes=3)
    classifier.get_layer("head").layers[1].rate = dropout
    unfreeze(classifier.get_layer("base"), 140)
    features = compute_features(classifier, split, split, RECIPE, precision)
    targets = Targets(split, 0.1, RECIPE, balanced=True), Targets(split)
    sgd = keras.optimizers.SGD(0.001, momentum=0.9, weight_decay=0.01)
    loop = Loop(batch_size=4, seed=0, epochs=2, patience=patience)
    history = []
    try:
        history = fit(classifier, sgd, features, targets, loop, replicas=replicas)
    except SystemExit as end:
        assert not end.code
    return history, classifier.get_weights()


if __name__ == "__main__":
    _, out = sys.argv
    replicas = build_replicas(read_launch())
    for name, options in {"plain": {}, "random": RANDOM}.items():
        history, weights = train(replicas, **options)
        np.savez(f"{out}-{name}.npz", history, *weights)
