"""What a training aims at: the labels, smoothed, mixed and weighed as its recipe asks."""

from functools import lru_cache

import numpy as np

from transfer.core.params import Params
from transfer.data.dataset import Split
from transfer.training.augmentation import Augmentation, mix


class Targets:
    """Targets of a split's pictures; by default its labels.

    smoothing: The share of each target that is spread over all the classes (Szegedy et al., 2016).
    augmentation: Whose mixup mixes the targets as it mixes the pictures.
    balanced: Weigh the pictures so that each class counts as much as another.
    """

    def __init__(
        self,
        split: Split,
        smoothing: float = 0.0,
        augmentation: Augmentation | None = None,
        balanced: bool = False,
    ):
        self.labels, classes = split.labels, len(split.class_names)
        soft = (1 - smoothing) * np.eye(classes) + smoothing / classes
        self.of_classes = [soft[:, 1:] if classes == 2 else soft]
        if balanced:  # the mean weight of the pictures is 1
            counts = np.bincount(split.labels, minlength=classes)
            self.of_classes.append(len(split.labels) / (classes * counts))
        self.draw = None
        if augmentation and augmentation.mixup:
            self.draw = lru_cache(maxsize=1)(augmentation.draw_mixtures)

    def __len__(self) -> int:
        return len(self.labels)

    def __call__(self, places: np.ndarray, epoch: int) -> tuple[np.ndarray, ...]:
        """Return targets, float32 [B, 1] for two classes (the share of the second one) or
        [B, classes], and where the pictures are weighed, their weights, float32 [B]."""
        results = [values[self.labels[places]] for values in self.of_classes]
        if self.draw:
            others, shares = (drawn[places] for drawn in self.draw(len(self), epoch))
            results = [
                mix(own, values[self.labels[others]], shares)
                for own, values in zip(results, self.of_classes, strict=True)
            ]
        return tuple(result.astype(np.float32) for result in results)


def training_targets(train: Split, augmentation: Augmentation, params: Params) -> Targets:
    """Return the targets of the training pictures that the parameters ask for."""
    return Targets(
        train, params.label_smoothing, augmentation, balanced=params.class_weights == "balanced"
    )
