"""The report of a search: its trials, what they gave, and which parameters mattered."""

from itertools import accumulate
from pathlib import Path

import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from scripts.experiments import FINE_TUNE
from scripts.search_space import Space, to_settings
from scripts.search_trial import QUARTERS
from scripts.sweep_table import COLUMNS, with_interval
from scripts.table import to_markdown
from transfer.core.files import replacing, write_csv
from transfer.reporting.style import COLORS, REFERENCE, save, styled

FEWEST = 10  # finished trials, from which the importance of parameters is estimated


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that finished, were stopped or failed; interrupted ones have no name."""
    return [trial for trial in study.trials if trial.state.is_finished() and trial.user_attrs]


def is_finished(trial: FrozenTrial) -> bool:
    """Return whether the pipeline ran to its end."""
    return trial.state == TrialState.COMPLETE


def write_report(study: optuna.Study, space: Space, folder: Path) -> str:
    """Write report.md, table.csv and search.png, and return the text.

    Args:
        study: With a finished trial, the default.
        space: By parameter.
        folder: For the files.
    """
    trials, importance = ended(study), measure_importance(study, space)
    table = [make_row(trial, space) for trial in rank(trials)]
    text = to_text(table, trials[0].user_attrs["name"], importance)
    write_csv(folder / "table.csv", list(table[0]), [list(row.values()) for row in table])
    save(draw(trials, importance), folder / "search.png")
    with replacing(folder / "report.md") as temporary:
        temporary.write_text(f"# {study.study_name}\n\n{text}\n![](search.png)\n", "utf-8")
    return text


def measure_importance(study: optuna.Study, space: Space) -> dict[str, float]:
    """Return by parameter the part of the differences in accuracy that it explains, most first.

    It is empty while too few trials have finished, and if there are no differences.
    """
    known = [t for t in study.trials if is_finished(t) and t.params.keys() == space.keys()]
    if len(known) < FEWEST or len({trial.value for trial in known}) == 1:
        return {}
    evaluator = FanovaImportanceEvaluator(seed=0)
    return get_param_importances(study, evaluator=evaluator, params=list(space))


def rank(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Sort trials: finished ones, the best first; stopped ones, the last first; failed ones."""
    order = {TrialState.COMPLETE: 2, TrialState.PRUNED: 1, TrialState.FAIL: 0}

    def key(trial: FrozenTrial) -> tuple[float, ...]:
        step = trial.last_step if trial.state == TrialState.PRUNED else 0
        return order[trial.state], step or 0, trial.value or 0

    return sorted(trials, key=key, reverse=True)


def make_row(trial: FrozenTrial, space: Space) -> dict[str, object]:
    """Return a row of the table, by the names of its columns; what is not known is empty.

    A stopped trial has the validation accuracy at which it was stopped.
    """
    values = to_settings(trial.params)
    if is_finished(trial):
        result = "finished"
    elif trial.state == TrialState.PRUNED:
        result = f"stopped at {trial.last_step / QUARTERS:.0%}"
    else:
        result = "failed"
    metrics = trial.user_attrs.get("metrics", {FINE_TUNE: {"val_accuracy": trial.value}})
    columns = {c: where for c, where in COLUMNS.items() if c != "trainable parameters"}
    return (
        {"experiment": trial.user_attrs["name"]}
        | {name: values.get(name, "") for name in space}
        | {"result": result}
        | {column: metrics.get(path, {}).get(key) for column, (path, key) in columns.items()}
        | {"seconds": trial.user_attrs["seconds"]}
    )


def to_line(row: dict[str, object]) -> str:
    """Return a row as a line for the terminal, while the search goes on."""
    words = (f"{name} {cell}" for name, cell in to_cells(row).items() if cell)
    return ", ".join(words).removeprefix("experiment ")


def to_cells(row: dict[str, object]) -> dict[str, str]:
    """Return a row as it is printed, with the interval in the column of the test accuracy."""
    cells = {name: "" if value is None else str(value) for name, value in row.items()}
    for column in ("validation accuracy", "validation loss"):
        if row[column] is not None:
            cells[column] = f"{row[column]:.4f}"
    del cells["low"], cells["high"]
    if row["test accuracy"] is not None:
        cells["test accuracy"] = with_interval(row)
    return cells


def to_text(table: list[dict], default: str, importance: dict[str, float]) -> str:
    """Return the report in Markdown.

    Args:
        table: Rows of `make_row`, the best first.
        default: The name of the experiment of params.yaml as it is.
        importance: By parameter.
    """
    cells = list(map(to_cells, table))
    minutes = sum(row["seconds"] for row in table) / 60
    best, (unchanged,) = cells[0], (row for row in cells if row["experiment"] == default)
    lines = [
        f"{len(table)} trials in {minutes:.1f} minutes; {default} is params.yaml as it is.",
        "",
        to_markdown(list(cells[0]), [row.values() for row in cells]),
        f"The validation images chose {best['experiment']}, so its validation accuracy flatters. "
        f"What counts is the test accuracy: {best['test accuracy']}; of {default}: "
        f"{unchanged['test accuracy']}. `dvc exp apply {best['experiment']}` takes it over.",
    ]
    if importance:
        rows = [(name, f"{part:.2f}") for name, part in importance.items()]
        lines += ["", to_markdown(["parameter", "importance"], rows).rstrip("\n")]
    return "\n".join(lines) + "\n"


@styled
def draw(trials: list[FrozenTrial], importance: dict[str, float]) -> Figure:
    """Plot validation accuracy over minutes and, if it is known, the importance of parameters.

    Args:
        trials: Those that ended, the default first.
        importance: By parameter.
    """
    figure = Figure(figsize=(11, 4.6) if importance else (7, 4.6))
    left, *right = figure.subplots(1, 2 if importance else 1, squeeze=False)[0]
    draw_progress(left, trials)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=4)
    for axes in right:
        names = list(importance)[::-1]
        axes.barh(names, [importance[name] for name in names], color=COLORS["head"])
        axes.set(title="Importance of parameters", xlabel="part of the differences explained")
        axes.grid(axis="y", visible=False)
    return figure


def draw_progress(axes: Axes, trials: list[FrozenTrial]) -> None:
    """Plot the trials, and the best of them so far, over the minutes that they took."""
    minutes = [s / 60 for s in accumulate(trial.user_attrs["seconds"] for trial in trials)]
    points = {TrialState.COMPLETE: [], TrialState.PRUNED: [], TrialState.FAIL: []}
    for end, trial in zip(minutes, trials, strict=True):
        points[trial.state].append((end, trial.value))
    ends, values = zip(*points[TrialState.COMPLETE], strict=True)
    axes.plot(ends, values, "o", color=COLORS["validation"], label="finished")
    if points[TrialState.PRUNED]:
        x, y = zip(*points[TrialState.PRUNED], strict=True)
        axes.plot(x, y, "x", color=COLORS["uncalibrated"], label="stopped")
    best = [*accumulate(values, max), max(values)]
    axes.step([*ends, minutes[-1]], best, where="post", color=COLORS["right"], label="best so far")
    axes.axhline(values[0], label="params.yaml as it is", **REFERENCE)
    axes.set(title="Validation images", xlabel="minutes", ylabel="accuracy", xlim=(0, None))
