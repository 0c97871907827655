"""A page to try the model on: make app."""

import re

import numpy as np
import streamlit as st
from starlette.formparsers import MultiPartParser

from transfer.core.errors import UserError, printable
from transfer.core.files import MODEL, SPLIT
from transfer.data.dataset import MANIFEST, Split, load_split
from transfer.evaluation.grad_cam import grad_cam, overlay
from transfer.serving.neighbours import Neighbours, compute_neighbours, spread_evenly
from transfer.serving.served import Served, serve

TITLE = "What is in the picture?"
NAMED, EXAMPLES, BARS, NEIGHBOURS = 20, 8, 5, 6
AT_A_TIME = 12  # pictures; the page holds each of them, up to 20 MB
MOST_COMPARED = 5_000  # training pictures, 5 kB of features each
STYLE = """<style>
[data-testid="stMainBlockContainer"] {padding-block: 2rem}
/* Images side by side: two by two or three by three on a phone. */
.stImage {display: grid; gap: .5rem; width: 100%;
  grid-template-columns: repeat(auto-fit, minmax(min(5.5rem, 100%), 1fr))}
[data-testid="stFullScreenFrame"] > div, .stImage > * > * {width: 100% !important}
.stImage img {border-radius: .4rem}
/* An example's button lies over its picture, unseen. */
[class*="st-key-example"] {position: relative}
[class*="st-key-example"]:is(:hover, :focus-within) img {outline: 3px solid #4c72b0}
[class*="st-key-example"] > :has(.stButton) {position: absolute; inset: 0; z-index: 1; opacity: 0}
[class*="st-key-example"] .stButton * {height: 100%; overflow: hidden}
</style>"""

# Else Starlette puts what is over 1 MB on the disk while it comes in.
MultiPartParser.spool_max_size = 0


def main() -> None:
    st.set_page_config(TITLE)
    st.html(STYLE)
    st.header(TITLE, anchor=False)
    if not MODEL.is_file():
        st.error(f"There is no {MODEL}: `dvc pull {MODEL}` fetches it, `dvc repro` makes it.")
        return
    try:
        served = load_model(MODEL.stat().st_mtime_ns)
        train, test = load_splits(served.classifier.input_shape[1])
        classes = served.description.classes
        more = " …" if len(classes) > NAMED else ""
        st.markdown(f"The model knows: {plain(', '.join(classes[:NAMED]))}{more}")
        show(served, pictures(served, test), train)
    except (UserError, OSError) as error:
        st.error(plain(str(error)))


@st.cache_resource(max_entries=1, show_spinner="Loading the model …")
def load_model(changed: int) -> Served:
    """Load the model; `changed`, when its file was, has it loaded anew."""
    return serve(MODEL)


def load_splits(size: int) -> tuple[Split, Split] | tuple[None, None]:
    """Open the pictures for training and testing, if they are here, and as the model's are."""
    if not (SPLIT / MANIFEST).is_file():
        return None, None
    train, test = (load_split(SPLIT, name) for name in ("train", "test"))
    return (train, test) if train.images.shape[1] == size else (None, None)


def pictures(served: Served, test: Split | None) -> list[tuple[str, np.ndarray | str]]:
    """Let a person choose; return names and pixels, or why a picture can't be read."""
    state = st.session_state
    files = st.file_uploader(
        "Your pictures, which stay in this machine's memory and go with the page",
        accept_multiple_files=True,
        on_change=state.pop,
        args=("example", None),
    )
    chosen = [(file.name, served.read(file)) for file in files[:AT_A_TIME]]
    if len(files) > AT_A_TIME:
        st.info(
            f"These are the first {AT_A_TIME} of {len(files)} pictures; on a terminal, "
            "`python -m scripts.predict` takes any number."
        )
    if test is None:
        st.caption("With the pictures of `dvc pull data/split`, there are examples here.")
        return chosen
    st.caption("Or one of these, which the model was not trained on:")
    places = spread_evenly(len(test.rows), EXAMPLES)
    with st.container(horizontal=True):
        for place, pixels in zip(places.tolist(), test.images[test.rows[places]], strict=True):
            with st.container(key=f"example-{place}", width=72):
                st.image(pixels, width=72, alt="")
                click = {"on_click": state.update, "kwargs": {"example": place}}
                st.button(f"Example {plain(test.paths[place])}", **click)
    if "example" in state:
        place = state.example
        chosen.insert(0, (test.paths[place], test.images[test.rows[[place]]][0]))
    return chosen


def show(served: Served, chosen: list[tuple[str, np.ndarray | str]], train: Split | None) -> None:
    for number, (name, pixels) in enumerate(chosen):
        if isinstance(pixels, str):
            st.error(plain(f"{name}: {pixels}"))
            continue
        with st.container(border=True, key=f"result-{number}"):
            features = show_classes(served, name, pixels)
            if train is not None:
                show_nearest(served, features, train)


def show_classes(served: Served, name: str, pixels: np.ndarray) -> np.ndarray:
    """Show what the model says and where it sees it; return the picture's features."""
    (probabilities,), (features,) = served.look(pixels[None])
    order = np.argsort(-probabilities)[:BARS]
    best = plain(served.description.classes[order[0]])
    (laid,) = overlay(pixels[None], grad_cam(served.classifier, pixels[None], order[:1]))
    st.subheader(f"{best} · {probabilities[order[0]]:.1%}", anchor=False)
    st.caption(plain(name))
    left, right = st.columns([3, 2], gap="medium")
    left.image([pixels, laid], ["as the model sees it", f"where it sees {best}"], "stretch")
    for place in order:
        label = plain(served.description.classes[place])
        right.progress(float(probabilities[place]), f"{label} {probabilities[place]:.1%}")
    return features


def show_nearest(served: Served, features: np.ndarray, train: Split) -> None:
    """Show the training pictures most like one."""
    changed = MODEL.stat().st_mtime_ns, (SPLIT / MANIFEST).stat().st_mtime_ns
    pixels, labels, cosines = compare_with(served, train, changed).nearest(features, NEIGHBOURS)
    st.caption("The training pictures most like it to the model, and the cosine of the features:")
    captions = [f"{plain(label)} {cos:.2f}" for label, cos in zip(labels, cosines, strict=True)]
    st.image(list(pixels), captions, "stretch")


@st.cache_resource(max_entries=1, show_spinner="Looking at the training pictures …", show_time=True)
def compare_with(_served: Served, _train: Split, changed: tuple[int, int]) -> Neighbours:
    return compute_neighbours(lambda pixels: _served.look(pixels)[1], _train, MOST_COMPARED)


def plain(text: str) -> str:
    """Escape what Markdown would make something of."""
    return re.sub(r"([!-/:-@[-`{-~])", r"\\\1", printable(text))


if __name__ == "__main__":
    main()
