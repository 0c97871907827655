"""Draw the figures; write the report and the model card."""

import numpy as np
from matplotlib.figure import Figure

from transfer.core.files import (
    HISTORY,
    HISTORY_HEAD,
    METRICS,
    MODEL,
    MODEL_CARD,
    PLOTS,
    PREDICTIONS,
    PROBABILITIES,
    SPLIT,
    iter_csv,
    read_csv,
    read_json,
    replacing,
)
from transfer.core.params_file import load_params
from transfer.core.stage import run_stage
from transfer.data.arrays import StoredArray
from transfer.data.dataset import Split, load_split
from transfer.evaluation.metrics import answered_at_least
from transfer.evaluation.prediction import uncalibrated
from transfer.models.compiled import load_compiled
from transfer.models.description import read_description
from transfer.reporting import figures, grids, report
from transfer.reporting.fonts import use_fonts_for
from transfer.reporting.style import save_all
from transfer.training.augmentation import build_augmentation
from transfer.training.trackers import check_trackers, log_scores


def main() -> None:
    check_trackers()
    params = load_params()
    train, test = load_split(SPLIT, "train"), load_split(SPLIT, "test")
    use_fonts_for(train.class_names)
    head, model = StoredArray(PROBABILITIES)[np.arange(2)]
    mistakes = np.count_nonzero(model.argmax(axis=1) != test.labels)
    worst = grids.worst_mistakes(test, model)
    drawn = draw_metrics(test, head, model) | {
        "samples": grids.sample_grid(train),
        "augmentation": grids.augmentation_grid(train, build_augmentation(params)),
        "predictions": grids.prediction_grid(
            test, model, grids.random_indices(len(test.rows)), "Predictions"
        ),
        "suspects": grids.suspect_grid(train.images, report.first_suspects(grids.SUSPECTS_SHOWN)),
        "mistakes": grids.prediction_grid(test, model, worst, "Worst mistakes"),
    }
    limit = read_description(MODEL).familiar_from
    if limit is not None:
        scores = np.array([float(row["familiarity"]) for row in iter_csv(PREDICTIONS)])
        drawn["familiarity"] = figures.familiarity(scores, limit)
    facts = report.collect_facts(params.model_dump())
    facts["answered"] = {
        threshold: answered_at_least(test.labels, model, threshold)
        for threshold in figures.THRESHOLDS
    }
    images = {
        "samples": report.sample_images(train, grids.random_indices(len(train.rows))),
        "explained": report.explain_predictions(
            load_compiled(MODEL), test, model, worst if mistakes else grids.least_confident(model)
        ),
    }
    with replacing(PLOTS) as folder, replacing(MODEL_CARD) as card:
        folder.mkdir()
        save_all({folder / f"{name}.png": figure for name, figure in drawn.items()})
        report.write_report(folder / "report.html", facts | images)
        report.write_card(card, facts)
    drawn_files = sorted(PLOTS.glob("*.png"))
    log_scores("test", read_json(METRICS / "evaluate.json"), drawn_files, params.model_dump())
    print(
        f"plot: {len(drawn)} figures and report.html in {PLOTS}/, and {MODEL_CARD}; "
        f"wrong on {mistakes} of {len(test.rows)} test images"
    )


def draw_metrics(test: Split, head: np.ndarray, model: np.ndarray) -> dict[str, Figure]:
    """Draw the figures of the metrics, by the names of their files.

    Args:
        test: The test images.
        head: Probabilities of the head alone, float [N, C].
        model: Probabilities of the delivered model, float [N, C].
    """
    history, head_epochs = to_columns(read_csv(HISTORY)), len(read_csv(HISTORY_HEAD))
    both = {"head": head, "fine-tuned": model}
    temperature = read_description(MODEL).temperature
    before = {"uncalibrated": uncalibrated(model, temperature)} if temperature else {}
    return {
        "learning_curves": figures.learning_curves(
            {name: values[:head_epochs] for name, values in history.items()},
            {name: values[head_epochs:] for name, values in history.items()},
        ),
        "confusion_matrix": figures.confusion_matrix(
            test.labels, model.argmax(axis=1), test.class_names
        ),
        "roc_and_precision_recall": figures.roc_and_precision_recall(test.labels, both),
        "reliability": figures.reliability(test.labels, both | before),
        "selective_answers": figures.selective_answers(test.labels, both),
    }


def to_columns(rows: list[dict[str, str]]) -> dict[str, list[float]]:
    """Turn the rows of a history into its columns."""
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


if __name__ == "__main__":
    run_stage(main)
