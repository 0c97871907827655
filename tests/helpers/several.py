"""Train in one of several processes or on several devices: python -m tests.helpers.several OUT"""

import sys

import numpy as np

from tests.helpers.models import make_classifier, make_split
from tests.helpers.project import PROJECT
from transfer.core.params import load_params
from transfer.core.runtime import keras
from transfer.models.classifier import unfreeze
from transfer.training.augmentation import Augmentation
from transfer.training.features import compute_features
from transfer.training.loop import fit
from transfer.training.strategy import build_replicas
from transfer.training.targets import Targets

PARAMS = load_params(PROJECT / "params.yaml")
RECIPE = Augmentation(0, "horizontal", 0.2, mixup=0.2)
RANDOM = {"dropout": 0.5, "precision": "mixed_float16", "patience": 1}


def train(replicas=None, dropout=0.0, precision="float32", patience=0):
    """Train on mixed and weighed pictures, 9 in batches of 4: two replicas share one in the end.

    Returns:
        History, of the chief, and all the weights.
    """
    split = make_split(pictures=9, classes=3)
    classifier = make_classifier(classes=3)
    classifier.get_layer("head").layers[1].rate = dropout
    unfreeze(classifier.get_layer("base"), 140)
    features = compute_features(classifier, split, split, RECIPE, precision)
    targets = Targets(split, 0.1, RECIPE, balanced=True), Targets(split)
    sgd = keras.optimizers.SGD(0.001, momentum=0.9, weight_decay=0.01)
    options = {"patience": patience, "replicas": replicas}
    history = []
    try:
        history = fit(classifier, sgd, features, targets, 4, 0, 2, **options)
    except SystemExit as end:
        assert not end.code
    return history, classifier.get_weights()


if __name__ == "__main__":
    _, out = sys.argv
    replicas = build_replicas(PARAMS)
    for name, options in {"plain": {}, "random": RANDOM}.items():
        history, weights = train(replicas, **options)
        np.savez(f"{out}-{name}.npz", history, *weights)
