"""Store the frozen layers' features of a few augmented views, for sweeps; nothing by default."""

import time
from pathlib import Path

from transfer.core.files import BASE_WEIGHTS, FINE_TUNE_FEATURES, HEAD_FEATURES, SPLIT, replacing
from transfer.core.params import Params, load_params
from transfer.core.stage import run_stage
from transfer.data.dataset import load_split
from transfer.models.backbones import layer_index
from transfer.training.augmentation import build_augmentation


def main() -> None:
    started = time.monotonic()
    params = load_params()
    with replacing(HEAD_FEATURES) as head, replacing(FINE_TUNE_FEATURES) as fine_tune:
        for folder in (head, fine_tune):
            folder.mkdir()
            (folder / "views").write_text(f"{params.views}\n")  # DVC warns of empty folders
        if params.views:
            store(params, head, fine_tune)
    stored = [*HEAD_FEATURES.iterdir(), *FINE_TUNE_FEATURES.iterdir()]
    print(
        f"features: {params.views} stored views a picture, "
        f"{sum(file.stat().st_size for file in stored) / 1e9:.2f} GB, "
        f"{time.monotonic() - started:.0f} s"
    )


def store(params: Params, head: Path, fine_tune: Path) -> None:
    """Write the features of all the views below both folders."""
    # TensorFlow takes seconds to load, and by default there is nothing to do.
    from transfer.models.backbones import build_base
    from transfer.models.classifier import build_classifier, load_base
    from transfer.training.features import write_features

    train, val = load_split(SPLIT, "train"), load_split(SPLIT, "val")
    base = build_base(params.backbone, image_size=train.images.shape[1])
    load_base(base, BASE_WEIGHTS)
    write_features(
        # Its head has no part in them.
        build_classifier(base, params.backbone, len(train.class_names), dropout=0, seed=0),
        train,
        val,
        build_augmentation(params),
        params.views,
        layer_index("views_at", params.views_at, [layer.name for layer in base.layers]),
        params.views_gb * 1e9,
        (head, fine_tune),
    )


if __name__ == "__main__":
    run_stage(main)
