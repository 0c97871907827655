"""A web page that follows a training while it runs: make watch."""

import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import altair as alt
import streamlit as st

from app.shared import STYLE
from transfer.core.files import HISTORY, HISTORY_HEAD, STATUS, read_csv, read_json
from transfer.core.runs import running_experiments
from transfer.reporting.style import COLORS

TITLE = "Training"
SECONDS = 1  # between looks
SILENT_SECONDS = 60  # without a status; the validation images may take some
STAGES = {"train_head": "Head", "fine_tune": "Fine-tuning"}
WORKSPACE = "workspace"
SPLITS = {"training": "", "validation": "val_"}  # and the prefix of their columns


def main() -> None:
    st.set_page_config(TITLE, layout="wide")
    st.html(STYLE)
    st.header(TITLE, anchor=False)
    follow()


@st.fragment(run_every=SECONDS)
def follow() -> None:
    """Show a run, and look again and again."""
    runs = {WORKSPACE: Path()} | running_experiments()
    name = WORKSPACE
    if len(runs) > 1:
        newest = max(runs, key=lambda name: last_change(runs[name]))
        name = st.selectbox("Run", runs, list(runs).index(newest), key="run")
    show_status(runs[name])
    rows = read_history(runs[name])
    if not rows:
        st.info("There is no epoch yet. `dvc repro` or `dvc exp run` starts a training.")
        return
    head = head_epochs(runs[name])
    for column, score in zip(st.columns(2), ("accuracy", "loss"), strict=True):
        column.altair_chart(draw(rows, score, head))
    if head is not None:
        st.caption("Fine-tuning starts at the dashed line.")


def last_change(folder: Path) -> float:
    """Return when the status of a run was written, or else its history; 0 if it has neither."""
    for path in (STATUS, HISTORY):
        with suppress(OSError):
            return (folder / path).stat().st_mtime
    return 0


def show_status(folder: Path) -> None:
    """Show how far the training in a folder is, and how fast."""
    try:
        status, age = read_json(folder / STATUS), time.time() - last_change(folder)
    except OSError:
        st.caption("No training runs here now; these are the curves of the last one.")
        return
    left = status["seconds_left"]
    values = {
        STAGES[status["stage"]]: f"epoch {status['epoch']} of {status['epochs']}",
        "Images per second": f"{status['images_per_second']:.0f}" if status["images"] else "–",
        "Time left": "–" if left is None else str(timedelta(seconds=round(left))),
    }
    for column, (label, value) in zip(st.columns(3), values.items(), strict=True):
        column.metric(label, value)
    st.progress(status["images"] / status["of"], f"{status['images']:,} of {status['of']:,} images")
    if age > SILENT_SECONDS:
        st.warning(f"The last sign of life is {age:.0f} s old; the training may have been killed.")


def read_history(folder: Path) -> list[dict[str, float]]:
    """Return the epochs that a run has done; none if there is no history yet."""
    try:
        rows = read_csv(folder / HISTORY)
    except OSError:
        return []
    return [{name: float(value) for name, value in row.items()} for row in rows]


def head_epochs(folder: Path) -> int | None:
    """Return the last epoch of the head; None while it is trained."""
    try:
        return int(read_csv(folder / HISTORY_HEAD)[-1]["epoch"])
    except (OSError, IndexError):
        return None


def draw(rows: list[dict[str, float]], score: str, head: int | None) -> alt.LayerChart:
    """Draw a score over the epochs.

    Args:
        rows: Of the history.
        score: accuracy or loss.
        head: The last epoch of the head, after which fine-tuning starts.
    """
    values = [
        {"epoch": row["epoch"], score: row[f"{prefix}{score}"], "images": split}
        for row in rows
        for split, prefix in SPLITS.items()
    ]
    colors = alt.Scale(domain=list(SPLITS), range=[COLORS[split] for split in SPLITS])
    lines = (
        alt.Chart(alt.Data(values=values))
        .mark_line(point=True)
        .encode(
            alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1, format="d")),
            alt.Y(f"{score}:Q", scale=alt.Scale(zero=False)),
            alt.Color("images:N", scale=colors, legend=alt.Legend(title=None, orient="top")),
            tooltip=["images:N", "epoch:Q", f"{score}:Q"],
        )
    )
    starts = [{"epoch": head}] if head is not None and rows[-1]["epoch"] > head else []
    rule = alt.Chart(alt.Data(values=starts)).mark_rule(strokeDash=[4, 4]).encode(x="epoch:Q")
    return (rule + lines).properties(title=score.capitalize(), height=360)


if __name__ == "__main__":
    main()
