"""The targets of a training: the labels, smoothed, mixed and weighted as the parameters ask."""

from functools import lru_cache

import numpy as np

from transfer.core.params import Params
from transfer.data.dataset import Split
from transfer.training.augmentation import Augmentation, build_augmentation, mix


class Targets:
    """The targets of a split's images; by default its labels."""

    def __init__(
        self,
        split: Split,
        smoothing: float = 0.0,
        augmentation: Augmentation | None = None,
        balanced: bool = False,
    ) -> None:
        """Compute the target and the weight of each class.

        Args:
            split: The images; only their labels are used.
            smoothing: Fraction of each target that is spread over all classes (Szegedy et al.,
                2016).
            augmentation: Its mixup mixes the targets as it mixes the images; None: no mixup.
            balanced: Weight the images so that each class counts the same.
        """
        self.labels, class_count = split.labels, len(split.class_names)
        soft = (1 - smoothing) * np.eye(class_count) + smoothing / class_count
        # Arrays whose rows are the classes: their targets and, if there are weights, those.
        self.of_classes = [soft[:, 1:] if class_count == 2 else soft]
        if balanced:  # the mean weight of the images is 1
            counts = np.bincount(split.labels, minlength=class_count)
            self.of_classes.append(len(split.labels) / (class_count * counts))
        self.draw_mixtures = None
        if augmentation and augmentation.mixup:
            self.draw_mixtures = lru_cache(maxsize=1)(augmentation.draw_mixtures)

    def __len__(self) -> int:
        return len(self.labels)

    def __call__(self, indices: np.ndarray, epoch: int) -> tuple[np.ndarray, ...]:
        """Return the targets of some images and, if there are weights, those.

        Args:
            indices: Indices of images in the split, int [B].
            epoch: From 1; decides what mixup mixes.

        Returns:
            Targets, float32: [B, 1] for two classes, the fraction of the second one, or else
            [B, classes]. With `balanced` also weights, float32 [B].
        """
        results = [values[self.labels[indices]] for values in self.of_classes]
        if self.draw_mixtures:
            others, fractions = (drawn[indices] for drawn in self.draw_mixtures(len(self), epoch))
            results = [
                mix(own, values[self.labels[others]], fractions)
                for own, values in zip(results, self.of_classes, strict=True)
            ]
        return tuple(result.astype(np.float32) for result in results)


def build_targets(train: Split, val: Split, params: Params) -> tuple[Targets, Targets]:
    """Return the targets of the training and of the validation images.

    Args:
        train: The training images.
        val: The validation images, whose targets are their plain labels.
        params: Label smoothing, class weights and the augmentation's mixup are read here.
    """
    balanced = params.class_weights == "balanced"
    augmentation = build_augmentation(params)
    return Targets(train, params.label_smoothing, augmentation, balanced), Targets(val)
