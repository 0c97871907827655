"""A web page to decide about the images that may have a wrong label: make review."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import streamlit as st

from app.shared import STYLE, escape_markdown
from app.suspects import Review, Suspect, load_review, missing_file, replace_decision
from transfer.core.errors import UserError, printable
from transfer.core.files import CORRECTIONS, SPLIT, SUSPECTS
from transfer.data.dataset import MANIFEST
from transfer.data.labels import EXCLUDE
from transfer.preprocessing.corrections import Correction, read_corrections

TITLE = "Is the label right?"
EXAMPLES, SIMILAR_WIDTH = 6, 280  # images; pixels
REASONS = {
    "label": "By its features, it is of another class.",
    "outlier": "It is unlike the other images of its class.",
    "twins": "It looks like an image that has another label.",
}
REVIEW_STYLE = """<style>
.st-key-suspect img {max-height: 62vh; object-fit: contain}
</style>"""
state = st.session_state


def main() -> None:
    st.set_page_config(TITLE, layout="wide")
    st.html(STYLE + REVIEW_STYLE)
    st.header(TITLE, anchor=False)
    if message := missing_file():
        st.error(message)
        return
    try:
        version = tuple(path.stat().st_mtime_ns for path in (SUSPECTS, SPLIT / MANIFEST))
        review = load(version)
        if review.outdated:
            st.info(
                f"{review.outdated} rows of {SUSPECTS} are older than {SPLIT} and are left out; "
                "`dvc repro` looks for suspects again."
            )
        if not review.suspects:
            st.success(f"There is nothing to review: {SUSPECTS} lists no image.")
            return
        if state.get("version") != version:
            first = review.next_open(read_corrections(CORRECTIONS))
            state.update(version=version, position=first, undo=[])
        show(review)
    except (UserError, OSError) as error:
        st.error(escape_markdown(str(error)))


@st.cache_resource(max_entries=1, show_spinner="Reading the images …")
def load(version: tuple[int, ...]) -> Review:
    """Read the suspects and the data set.

    Args:
        version: When their files were modified, in nanoseconds; new values reload them.
    """
    return load_review()


def show(review: Review) -> None:
    """Show how far the review is, and the current suspect."""
    corrections = read_corrections(CORRECTIONS)
    total = len(review.suspects)
    decided = sum(bool(review.decision(suspect, corrections)) for suspect in review.suspects)
    st.progress(decided / total, f"{decided:,} of {total:,} reviewed")
    if error := state.pop("error", None):
        st.error(escape_markdown(error))
    if state.position < total:
        suspect = review.suspects[state.position]
        left, right = st.columns([3, 2], gap="medium")
        with left, st.container(key="suspect"):
            st.image(review.whole_image(suspect), width="stretch", alt=printable(suspect.path))
        with left:
            show_similar(review, suspect)
        with right:
            show_facts(suspect, review.decision(suspect, corrections))
            show_decisions(review, suspect)
            show_steps(review)
            show_person()
        show_examples(review, suspect)
    else:
        st.success(
            f"All are reviewed. `dvc repro` runs the pipeline with what {CORRECTIONS} says; "
            "`dvc metrics diff` then shows the difference."
        )
        show_steps(review)


def show_facts(suspect: Suspect, decision: Correction | None) -> None:
    """Show labels, reason and what was decided before."""
    st.subheader(f"Labelled {escape_markdown(suspect.label)}", anchor=False)
    if suspect.suggested:
        st.markdown(f"Suggested: **{escape_markdown(suspect.suggested)}**")
    st.markdown(REASONS.get(suspect.kind, escape_markdown(suspect.kind)))
    if suspect.probability:
        st.markdown(
            f"Probability of its label, learned without it: {float(suspect.probability):.1%}"
        )
    st.caption(f"{escape_markdown(suspect.path)} · {suspect.split}")
    if decision:
        what = "leave out" if decision.new == EXCLUDE else decision.new
        st.info(escape_markdown(f"Decided: {what}" + f" ({decision.who})" * bool(decision.who)))


def show_decisions(review: Review, suspect: Suspect) -> None:
    """Show a button, and a key, for each decision."""

    def button(label: str, name: str, shortcut: str, new: str, **options: str) -> None:
        # Another button for each suspect: a key pressed twice can't decide about one yet unseen.
        key = f"{name}-{state.position}"
        click = {"on_click": decide, "args": (review, state.position, new)}
        st.button(label, key, shortcut=shortcut, width="stretch", wrap=True, **click, **options)

    button(f"Keep {escape_markdown(suspect.label)}", "keep", "K", suspect.label)
    if suspect.suggested:
        label = f"Relabel to {escape_markdown(suspect.suggested)}"
        button(label, "suggested", "S", suspect.suggested, type="primary")
    button("Leave out", "exclude", "X", EXCLUDE)
    others = [name for name in review.train.class_names if name != suspect.label]
    key = f"other-{state.position}"
    st.selectbox(
        "Another class",
        others,
        None,
        printable,
        key,
        placeholder="Relabel to another class",
        label_visibility="collapsed",
        on_change=lambda position: decide(review, position, state[key]),
        args=(state.position,),
    )


def decide(review: Review, position: int, new: str | None) -> None:
    """Write a decision and go to the next suspect.

    Args:
        review: The suspects.
        position: Of the suspect that the person saw.
        new: The right label, or EXCLUDE.
    """
    if position != state.position or not new:
        return  # pressed twice, or the choice of a class was cleared
    suspect = review.suspects[position]
    correction = Correction(
        sha256=suspect.sha256,
        path=suspect.path,
        old=review.old_label(suspect),
        new=new,
        who=state.get("who", "").strip(),
        why=state.get("why", "").strip(),
    )
    with showing_errors(), lock():
        before = replace_decision(suspect.sha256, correction)
        state.undo.append((position, before))
        state.position = review.next_open(read_corrections(CORRECTIONS), position)
        state.why = ""


def undo(review: Review) -> None:
    """Take the last decision of this session back, and return to its suspect."""
    if not state.undo:
        return  # pressed twice
    position, before = state.undo[-1]
    with showing_errors(), lock():
        replace_decision(review.suspects[position].sha256, before)
        state.position, _ = state.undo.pop()


@contextmanager
def showing_errors() -> Iterator[None]:
    """Show an error on the page, which a callback can't."""
    try:
        yield
    except (UserError, OSError) as error:
        state.error = str(error)


@st.cache_resource
def lock() -> Lock:
    """Return the lock of corrections.csv, which all open pages share."""
    return Lock()


def show_steps(review: Review) -> None:
    """Show buttons that go back and forth, and one that takes the last decision back."""
    last = len(review.suspects) - 1
    with st.container(horizontal=True):
        for label, key, target in (
            ("Back", "Left", state.position - 1),
            ("Next", "Right", state.position + 1),
        ):
            go = {"on_click": state.update, "kwargs": {"position": target}}
            st.button(label, label, shortcut=key, disabled=not 0 <= target <= last, **go)
        take_back = {"on_click": undo, "args": (review,), "disabled": not state.undo}
        st.button("Undo", "undo-button", shortcut="U", **take_back)


def show_person() -> None:
    """Ask who decides, and why."""
    st.text_input("Your name, for the record", git_user(), key="who", bind="query-params")
    st.text_input("Why (optional)", key="why", placeholder="such as: two animals")


@st.cache_resource
def git_user() -> str:
    """Return the name under which the person commits, or an empty text."""
    try:
        command = ["git", "config", "user.name"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:  # there is no git
        return ""


def show_similar(review: Review, suspect: Suspect) -> None:
    """Show the most similar image of another label, if there is one."""
    if suspect.other in review.stored:
        _, label = review.stored[suspect.other]
        with st.container(width=SIMILAR_WIDTH):
            st.markdown(f"A similar image, labelled **{escape_markdown(label)}**:")
            st.image(review.square(suspect.other), escape_markdown(suspect.other), "stretch")


def show_examples(review: Review, suspect: Suspect) -> None:
    """Show training images of both classes, to compare with."""
    for label in filter(None, (suspect.label, suspect.suggested)):
        if images := [*review.examples(label, EXAMPLES)]:
            st.markdown(f"Other images labelled **{escape_markdown(label)}**:")
            st.image(images, width="stretch")


if __name__ == "__main__":
    main()
