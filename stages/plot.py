"""Draw the pictures that a person looks at; write the report, and the model's card."""

import numpy as np

from transfer.core.files import (
    HISTORY,
    HISTORY_HEAD,
    MODEL,
    MODEL_CARD,
    PLOTS,
    PROBABILITIES,
    SPLIT,
    read_csv,
    replacing,
)
from transfer.core.params import load_params
from transfer.core.stage import run_stage
from transfer.data.dataset import StoredArray, load_split
from transfer.models.classifier import load_model
from transfer.reporting import figures, grids, report
from transfer.training.augmentation import build_augmentation


def main() -> None:
    params = load_params()
    train, test = load_split(SPLIT, "train"), load_split(SPLIT, "test")
    head, model = StoredArray(PROBABILITIES)[np.arange(2)]
    history, head_epochs = read_csv(HISTORY), len(read_csv(HISTORY_HEAD))
    both = {"head": head, "fine-tuned": model}
    mistakes = np.count_nonzero(model.argmax(axis=1) != test.labels)
    worst = grids.worst_mistakes(test, model)
    drawn = {
        "learning_curves": figures.learning_curves(
            columns(history[:head_epochs]), columns(history[head_epochs:])
        ),
        "confusion_matrix": figures.confusion_matrix(
            test.labels, model.argmax(axis=1), test.class_names
        ),
        "roc_and_precision_recall": figures.roc_and_precision_recall(test.labels, both),
        "reliability": figures.reliability(test.labels, both),
        "samples": grids.sample_grid(train),
        "augmentation": grids.augmentation_grid(train, build_augmentation(params)),
        "predictions": grids.prediction_grid(
            test, model, grids.spread(len(test.rows)), "Predictions"
        ),
        "mistakes": grids.prediction_grid(test, model, worst, "Worst mistakes"),
    }
    facts = report.gather(params.model_dump())
    photos = {
        "samples": report.samples(train, grids.spread(len(train.rows))),
        "explained": report.explained(
            load_model(MODEL), test, model, worst if mistakes else grids.least_sure(model)
        ),
    }
    with replacing(PLOTS) as folder, replacing(MODEL_CARD) as card:
        folder.mkdir()
        for name, figure in drawn.items():
            figures.save(figure, folder / f"{name}.png")
        report.write_report(folder / "report.html", facts | photos)
        report.write_card(card, facts)
    print(
        f"plot: {len(drawn)} pictures and report.html in {PLOTS}/, {mistakes} mistakes on "
        f"{len(test.rows)}; {MODEL_CARD}"
    )


def columns(rows: list[dict[str, str]]) -> dict[str, list[float]]:
    """Turn the rows of a history into its columns."""
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


if __name__ == "__main__":
    run_stage(main)
