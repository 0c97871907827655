"""Score the head and the fine-tuned model on images that the training never saw."""

import io

import numpy as np

from transfer.core.files import (
    CORRECTIONS,
    HEAD_MODEL,
    METRICS,
    MODEL,
    PREDICTIONS,
    PROBABILITIES,
    SPLIT,
    replacing,
    write_csv,
    write_json,
)
from transfer.core.stage import run_stage
from transfer.data.dataset import Split, given_labels, load_split
from transfer.evaluation.metrics import (
    SIGNIFICANT,
    curves,
    mcnemar_test,
    scores,
    scores_by_class,
)
from transfer.evaluation.prediction import predict, uncalibrated
from transfer.models.compiled import load_compiled
from transfer.models.description import Description

# What `dvc metrics diff` and `dvc exp show` compare; scores.csv has the other scores, too.
COMPARED = (
    *("accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy", "macro_f1"),
    *("loss", "roc_auc", "calibration_error"),
)
COMPARED_OF_HEAD = ("accuracy", "loss", "roc_auc")


def main() -> None:
    test = load_split(SPLIT, "test")
    head, _ = predict(load_compiled(HEAD_MODEL), test, "head")
    classifier = load_compiled(MODEL)
    model, familiarity = predict(classifier, test, "fine-tuned")
    head_scores, model_scores = scores(test.labels, head), scores(test.labels, model)
    only_head, only_model, p_value = mcnemar_test(
        *(probabilities.argmax(axis=1) == test.labels for probabilities in (head, model))
    )

    write_probabilities(head, model)
    corrections = score_corrections(test, model)
    more = {"mcnemar_p": p_value, **score_uncalibrated(test, model, classifier.description)}
    more |= score_familiarity(familiarity, classifier.description) | corrections
    write_scores(head_scores, model_scores, more)
    write_classes(test, head, model)
    write_predictions(test, model, familiarity)
    for name, header, rows in curves(test.labels, model):
        write_csv(METRICS / f"{name}.csv", header, rows)
    print(
        f"evaluate: accuracy {model_scores['accuracy']:.4f} "
        f"(95 % interval {model_scores['accuracy_low']:.4f} to "
        f"{model_scores['accuracy_high']:.4f}) on {len(test.labels)} test images; "
        f"the head alone {head_scores['accuracy']:.4f}"
    )
    if corrections:
        labels, images, accuracy = corrections.values()
        print(
            f"evaluate: {CORRECTIONS} changes the labels of {labels} of the test images and leaves "
            f"out {images} more; accuracy by the labels as given {accuracy:.4f}"
        )
    if p_value > SIGNIFICANT and only_head + only_model:
        print(
            f"evaluate: the difference is not significant on so few images: {only_model} are right "
            f"with the fine-tuned model only, {only_head} with the head only (McNemar's test, "
            f"p = {p_value:.2f})"
        )


def write_probabilities(head: np.ndarray, model: np.ndarray) -> None:
    """Write the probabilities of both models, float32 [2, N, C]."""
    array = io.BytesIO()
    np.save(array, np.stack([head, model]))
    with replacing(PROBABILITIES) as temporary:
        temporary.write_bytes(array.getvalue())  # np.save does not say why it can't write


def score_corrections(test: Split, model: np.ndarray) -> dict[str, float]:
    """Return what corrections change about the test images and the accuracy; empty if nothing.

    Args:
        test: The test images with the corrected labels.
        model: Probabilities of the fine-tuned model, float [N, C].
    """
    given, excluded = given_labels(SPLIT, "test", test)
    corrected = int(np.count_nonzero(given != test.labels))
    if not corrected and not excluded:
        return {}
    return {
        "corrected_labels": corrected,
        "excluded_images": excluded,
        "accuracy_given_labels": float((model.argmax(axis=1) == given).mean()),
    }


def score_uncalibrated(
    test: Split, model: np.ndarray, description: Description
) -> dict[str, float]:
    """Return what the scores of the probabilities were before calibration; empty if there was none.

    Args:
        test: The test images.
        model: Probabilities of the fine-tuned model, float [N, C].
        description: Of that model.
    """
    if not description.temperature:
        return {}
    before = scores(test.labels, uncalibrated(model, description.temperature))
    return {f"uncalibrated_{name}": before[name] for name in ("loss", "calibration_error")}


def score_familiarity(familiarity: np.ndarray | None, description: Description) -> dict[str, float]:
    """Return the fraction of the test images that are unfamiliar; empty if it is not known.

    Args:
        familiarity: float [N], or None.
        description: Of the fine-tuned model.
    """
    if familiarity is None:
        return {}
    return {"unfamiliar": float(np.mean(familiarity < description.familiar_from))}


def write_scores(head: dict[str, float], model: dict[str, float], more: dict[str, float]) -> None:
    """Write the scores over all classes.

    Args:
        head: Scores of the head alone.
        model: Scores of the fine-tuned model.
        more: What else `dvc metrics diff` compares.
    """
    write_json(
        METRICS / "evaluate.json",
        {name: model[name] for name in COMPARED}
        | {f"head_{name}": head[name] for name in COMPARED_OF_HEAD}
        | more,
    )
    write_csv(
        METRICS / "scores.csv",
        ("score", "head", "fine-tuned"),
        [(name, round(head[name], 5), round(model[name], 5)) for name in model],
    )


def write_classes(test: Split, head: np.ndarray, model: np.ndarray) -> None:
    """Write the scores of each class, from the probabilities of both models, float [N, C]."""
    write_csv(
        METRICS / "classes.csv",
        ("class", "model", "precision", "recall", "f1", "images"),
        [
            (name, kind, *row)
            for kind, probabilities in (("head", head), ("fine-tuned", model))
            for name, row in zip(
                test.class_names, scores_by_class(test.labels, probabilities), strict=True
            )
        ],
    )


def write_predictions(test: Split, model: np.ndarray, familiarity: np.ndarray | None) -> None:
    """Write label, prediction, probability and familiarity of each image.

    Args:
        test: The test images.
        model: Probabilities, float [N, C].
        familiarity: float [N]; None: without that column.
    """
    names = np.array(test.class_names)
    columns = {
        "path": test.paths,
        "label": names[test.labels],
        "probability": np.round(model.max(axis=1).astype(float), 5),
        "prediction": names[model.argmax(axis=1)],
    }
    if familiarity is not None:
        columns["familiarity"] = np.round(familiarity.astype(float), 5)
    write_csv(PREDICTIONS, tuple(columns), zip(*columns.values(), strict=True))


if __name__ == "__main__":
    run_stage(main)
