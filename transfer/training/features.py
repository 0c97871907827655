"""What the frozen layers make of the images: the features that the live layers start from."""

from dataclasses import dataclass

from transfer.core.runtime import keras
from transfer.data.dataset import Reader, Split, plain_pixels
from transfer.models.features import compile_base, extract_from_pixels, pooled_base
from transfer.models.folding import between, frontier
from transfer.models.inference import Inference
from transfer.training.augmentation import Augmentation, augmented_pixels


@dataclass(frozen=True)
class Features:
    """Features of both splits and the layers that are trained on them.

    train: Reads the features of training images: float32 tensors [B, …], those of the frontier.
    val: Reads those of validation images.
    live: A model from the features to the pooled output of the base.
    views: How many views there are of each training image; 0: a new one in each epoch.
    extract: Computes features from pixels, uint8 [B, H, W, 3], and if the whole base is frozen its
        maps, too; None if features are read from a file.
    """

    train: Reader
    val: Reader
    live: keras.Model
    views: int = 0
    extract: Inference | None = None


def compute_features(
    classifier: keras.Model, train: Split, val: Split, augmentation: Augmentation, precision: str
) -> Features:
    """Return features that are computed from the images, augmented anew in every epoch.

    Args:
        classifier: Its trainable layers decide where the live layers start.
        train: The training images, which are augmented.
        val: The validation images, which are not.
        augmentation: What each epoch does to the training images.
        precision: Of the live layers, as for `fold`.
    """
    return features_of(
        classifier, augmented_pixels(train, augmentation), plain_pixels(val), precision
    )


def features_of(classifier: keras.Model, train: Reader, val: Reader, precision: str) -> Features:
    """Return features that are computed from pixels.

    Args:
        classifier: As for `compute_features`.
        train: Reads the pixels of training images, uint8 [B, H, W, 3].
        val: Reads those of validation images.
        precision: As for `fold`.
    """
    base = pooled_base(classifier, precision, to_train=True)
    start = frontier(base)
    if start[0] is base.output:  # all of it is frozen
        extract = compile_base(classifier)
    else:
        preprocessing = classifier.get_layer("preprocessing")
        extract = extract_from_pixels(between(base.inputs, start), preprocessing)
    return Features(
        *(through(extract, read, len(start)) for read in (train, val)),
        between(start, base.outputs),
        extract=extract,
    )


def through(extract: Inference, read: Reader, count: int | None = None) -> Reader:
    """Return a reader of what `extract` makes of the arrays that `read` returns.

    Args:
        extract: Returns some arrays.
        read: Returns the arguments of `extract`.
        count: How many of its arrays are returned, the first ones; None: all.
    """
    return lambda indices, epoch: tuple(extract(*read(indices, epoch))[:count])
