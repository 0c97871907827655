"""Score the head and the fine-tuned model on pictures that the training never saw."""

import io

import numpy as np

from transfer.core.files import (
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
from transfer.data.dataset import load_split
from transfer.evaluation.metrics import compare, curves, scores, scores_by_class
from transfer.evaluation.prediction import predict
from transfer.models.classifier import load_model

# What `dvc metrics diff` and `dvc exp show` compare; scores.csv has the others too.
COMPARED = ("accuracy", "accuracy_low", "accuracy_high", "loss", "roc_auc", "calibration_error")
COMPARED_OF_HEAD = ("accuracy", "loss", "roc_auc")
SIGNIFICANT = 0.05


def main() -> None:
    test = load_split(SPLIT, "test")
    names = np.array(test.class_names)
    head, model = (predict(load_model(path), test) for path in (HEAD_MODEL, MODEL))
    of_head, of_model = scores(test.labels, head), scores(test.labels, model)
    only_head, only_model, p_value = compare(test.labels, head, model)

    array = io.BytesIO()
    np.save(array, np.stack([head, model]))
    with replacing(PROBABILITIES) as temporary:
        temporary.write_bytes(array.getvalue())  # np.save does not say why it can't write
    write_json(
        METRICS / "evaluate.json",
        {name: of_model[name] for name in COMPARED}
        | {f"head_{name}": of_head[name] for name in COMPARED_OF_HEAD}
        | {"mcnemar_p": p_value},
    )
    write_csv(
        METRICS / "scores.csv",
        ("score", "head", "fine-tuned"),
        [(name, round(of_head[name], 5), round(of_model[name], 5)) for name in of_model],
    )
    write_csv(
        METRICS / "classes.csv",
        ("class", "model", "precision", "recall", "f1", "pictures"),
        [
            (name, kind, *row)
            for kind, probabilities in (("head", head), ("fine-tuned", model))
            for name, row in zip(names, scores_by_class(test.labels, probabilities), strict=True)
        ],
    )
    write_csv(
        PREDICTIONS,
        ("path", "label", "probability", "prediction"),
        zip(
            test.paths,
            names[test.labels],
            np.round(model.max(axis=1).astype(float), 5),
            names[model.argmax(axis=1)],
            strict=True,
        ),
    )
    for name, header, rows in curves(test.labels, model):
        write_csv(METRICS / f"{name}.csv", header, rows)
    print(
        f"evaluate: accuracy {of_model['accuracy']:.4f} "
        f"(95 % interval {of_model['accuracy_low']:.4f} to {of_model['accuracy_high']:.4f}) "
        f"on {len(test.labels)} test pictures; the head alone {of_head['accuracy']:.4f}"
    )
    if p_value > SIGNIFICANT and not np.array_equal(head, model):
        print(
            f"evaluate: too few pictures to tell them apart: {only_model} only the fine-tuned "
            f"model has right, {only_head} only the head (McNemar's test, p = {p_value:.2f})"
        )


if __name__ == "__main__":
    run_stage(main)
