"""Fine-tune the layers of the base from `fine_tune_at` up, together with the head."""

import shutil
import time
from collections.abc import Sequence

from transfer.core.cpu import THREADS
from transfer.core.files import (
    HEAD_MODEL,
    HISTORY,
    HISTORY_HEAD,
    MODEL,
    SPLIT,
    read_csv,
    replacing,
    write_csv,
)
from transfer.core.params import Params
from transfer.core.params_file import load_params
from transfer.core.processes import read_launch
from transfer.core.recipes import describe
from transfer.core.runtime import keras
from transfer.data.dataset import Split, load_split
from transfer.models.backbones import first_layer, layer_index
from transfer.models.classifier import load_model, read_description, save_model, unfreeze
from transfer.models.folding import absorb_scales
from transfer.training.augmentation import build_augmentation
from transfer.training.features import Features, compute_features
from transfer.training.interpolation import interpolate
from transfer.training.launch import run_training
from transfer.training.loop import HISTORY_COLUMNS, kept_epoch
from transfer.training.phase import (
    OPTIMIZERS,
    Phase,
    fine_tuning_epochs,
    report,
    train_phase,
)
from transfer.training.resume import TrainingState
from transfer.training.strategy import build_replicas
from transfer.training.targets import build_targets
from transfer.training.views import stored_features


def main() -> None:
    started = time.monotonic()
    params = load_params()
    replicas = build_replicas(read_launch())
    is_chief = not replicas or replicas.is_chief
    if is_chief:
        print(describe(dict(params)))
    train, val = load_split(SPLIT, "train"), load_split(SPLIT, "val")
    classifier = load_model(HEAD_MODEL)
    base = classifier.get_layer("base")
    first = first_layer(base, params.fine_tune_at)
    if is_chief:
        print(f"fine_tune: from layer {first} of {len(base.layers)}, {base.layers[first].name}")
    unfreeze(base, first)
    if params.fold_normalization:
        absorb_scales(base)
    head_history = [tuple(map(float, row.values())) for row in read_csv(HISTORY_HEAD)]
    phase = Phase(
        "fine_tune",
        OPTIMIZERS[params.fine_tune_optimizer],
        params.fine_tune_learning_rate,
        fine_tuning_epochs(params.fine_tune_epochs, len(train.rows)),
        first_epoch=int(head_history[-1][0]) + 1,
    )
    state = TrainingState(phase.name, params, replicas)
    features = fine_tune_features(classifier, train, val, first, params)
    targets = build_targets(train, val, params)
    before = [variable.numpy() for variable in classifier.trainable_variables]
    history = train_phase(phase, classifier, features, targets, params, state)
    tuned, head = (kept_epoch(rows, params.early_stopping)[-2:] for rows in (history, head_history))
    more = {"first_layer": first, "threads": THREADS}
    if params.interpolate_weights:
        more["fraction"], *tuned = interpolate(
            classifier, before, features, targets[1], params.batch_size
        )

    rows = [(int(epoch), *scores) for epoch, *scores in (*head_history, *history)]
    write_csv(HISTORY, HISTORY_COLUMNS, rows)
    more |= deliver(classifier, tuned, head)
    if more["delivered"] == "head":
        more.pop("fraction", None)  # none of the way
    report(phase, classifier, len(history), tuned, started, **more)
    state.remove()


def fine_tune_features(
    classifier: keras.Model, train: Split, val: Split, first: int, params: Params
) -> Features:
    """Return stored features if all layers to fine-tune lie above them, else computed ones.

    Args:
        classifier: With its layers from `first` up trainable.
        train: The training images.
        val: The validation images.
        first: Index of the first layer of the base to fine-tune.
        params: The augmentation and the views are read here.
    """
    augmentation = build_augmentation(params)
    if params.views:
        names = [layer.name for layer in classifier.get_layer("base").layers]
        views_at = layer_index("views_at", params.views_at, names)
        if first >= views_at:
            return stored_features(
                classifier,
                (train, val),
                augmentation,
                params.views,
                views_at,
                params.views_gb * 1e9,
                params.precision,
            )
    return compute_features(classifier, train, val, augmentation, params.precision)


def deliver(
    classifier: keras.Model, tuned: Sequence[float], head: Sequence[float]
) -> dict[str, object]:
    """Save the fine-tuned model or, if that was better on the validation images, the head's.

    The better one has the higher accuracy or, where it is the same, the lower loss.

    Args:
        classifier: The fine-tuned model.
        tuned: Its accuracy and its loss on the validation images.
        head: Those of the head's model.

    Returns:
        The metrics that tell which one it is.
    """
    (tuned_accuracy, tuned_loss), (accuracy, loss) = tuned, head
    if (tuned_accuracy, -tuned_loss) >= (accuracy, -loss):
        save_model(classifier, MODEL, read_description(HEAD_MODEL))
        return {"delivered": "fine-tuned"}
    with replacing(MODEL) as temporary:
        shutil.copyfile(HEAD_MODEL, temporary)
    print(
        f"fine_tune: the head alone was better (validation accuracy {accuracy:.4f}, loss "
        f"{loss:.4f}), so {MODEL} is the head's model"
    )
    return {"delivered": "head", "val_accuracy": accuracy, "val_loss": loss}


if __name__ == "__main__":
    run_training(main)
