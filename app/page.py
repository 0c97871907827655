"""A web page to try the model on images: make app."""

import numpy as np
import streamlit as st
from starlette.formparsers import MultiPartParser

from app.shared import STYLE, escape_markdown
from transfer.core.errors import UserError
from transfer.core.files import MODEL, SPLIT
from transfer.data.dataset import MANIFEST, Split, evenly_spaced, load_split
from transfer.evaluation.grad_cam import grad_cam, overlay
from transfer.serving.neighbours import NeighbourIndex, build_index
from transfer.serving.predictor import Predictor, load_predictor

TITLE = "What is in the image?"
MAX_CLASS_NAMES, EXAMPLES, BARS, NEIGHBOURS = 20, 8, 5, 6
MAX_IMAGES = 12  # at a time; the page holds each of them, up to 20 MB
MAX_COMPARED = 5_000  # training images, 5 kB of features each
UNFAMILIAR = (
    "This image is unlike those that the model was trained on. It may show none of the classes, so "
    "the probability means little."
)
EXAMPLE_STYLE = """<style>
/* The button of an example is transparent and covers its image. */
[class*="st-key-example"] {position: relative}
[class*="st-key-example"]:is(:hover, :focus-within) img {outline: 3px solid #4c72b0}
[class*="st-key-example"] > :has(.stButton) {position: absolute; inset: 0; z-index: 1; opacity: 0}
[class*="st-key-example"] .stButton * {height: 100%; overflow: hidden}
</style>"""

# By default, Starlette writes uploads of more than 1 MB to the disk.
MultiPartParser.spool_max_size = 0


def main() -> None:
    st.set_page_config(TITLE)
    st.html(STYLE + EXAMPLE_STYLE)
    st.header(TITLE, anchor=False)
    if not MODEL.is_file():
        st.error(f"There is no {MODEL}: `dvc pull {MODEL}` fetches it, `dvc repro` makes it.")
        return
    try:
        predictor = load_model(MODEL.stat().st_mtime_ns)
        train, test = load_splits(predictor.size)
        classes = predictor.description.classes
        more = " …" if len(classes) > MAX_CLASS_NAMES else ""
        names = ", ".join(classes[:MAX_CLASS_NAMES])
        st.markdown(f"Classes: {escape_markdown(names)}{more}")
        show(predictor, choose_images(predictor, test), train)
    except (UserError, OSError) as error:
        st.error(escape_markdown(str(error)))


@st.cache_resource(max_entries=1, show_spinner="Loading the model …")
def load_model(modified: int) -> Predictor:
    """Load the model.

    Args:
        modified: When its file was modified, in nanoseconds; a new value reloads it.
    """
    return load_predictor(MODEL)


def load_splits(size: int) -> tuple[Split, Split] | tuple[None, None]:
    """Open the training and the test images, if they exist and have the model's image size."""
    if not (SPLIT / MANIFEST).is_file():
        return None, None
    train, test = (load_split(SPLIT, name) for name in ("train", "test"))
    return (train, test) if train.images.shape[1] == size else (None, None)


def choose_images(predictor: Predictor, test: Split | None) -> list[tuple[str, np.ndarray | str]]:
    """Let the user choose images; return names, and pixels or the reason why they can't be read."""
    state = st.session_state
    files = st.file_uploader(
        "Your images; they stay in the memory of this machine until you close the page",
        accept_multiple_files=True,
        on_change=state.pop,
        args=("example", None),
    )
    chosen = [(file.name, predictor.decode(file)) for file in files[:MAX_IMAGES]]
    if len(files) > MAX_IMAGES:
        st.info(
            f"These are the first {MAX_IMAGES} of {len(files)} images; in a terminal, "
            "`python -m scripts.predict` takes any number."
        )
    if test is None:
        st.caption("To see examples here, fetch the images with `dvc pull data/split`.")
        return chosen
    st.caption("Or one of these, which the model was not trained on:")
    indices = evenly_spaced(len(test.rows), EXAMPLES)
    with st.container(horizontal=True):
        for index, pixels in zip(indices.tolist(), test.images[test.rows[indices]], strict=True):
            with st.container(key=f"example-{index}", width=72):
                st.image(pixels, width=72, alt="")
                click = {"on_click": state.update, "kwargs": {"example": index}}
                st.button(f"Example {escape_markdown(test.paths[index])}", **click)
    if "example" in state:
        index = state.example
        chosen.insert(0, (test.paths[index], test.images[test.rows[[index]]][0]))
    return chosen


def show(
    predictor: Predictor, chosen: list[tuple[str, np.ndarray | str]], train: Split | None
) -> None:
    """Show a card for each image.

    Args:
        predictor: The model.
        chosen: What `choose_images` returned.
        train: The training images to compare with, if there are any.
    """
    for number, (name, pixels) in enumerate(chosen):
        if isinstance(pixels, str):
            st.error(escape_markdown(f"{name}: {pixels}"))
            continue
        with st.container(border=True, key=f"result-{number}"):
            features = show_classes(predictor, name, pixels)
            if train is not None:
                show_nearest(predictor, features, train)


def show_classes(predictor: Predictor, name: str, pixels: np.ndarray) -> np.ndarray:
    """Show the most probable classes, and where the model sees the first one.

    Args:
        predictor: The model.
        name: Of the image.
        pixels: uint8 [H, W, 3].

    Returns:
        The features of the image, float32 [D].
    """
    (probabilities,), (features,) = predictor.predict_with_features(pixels[None])
    order = np.argsort(-probabilities)[:BARS]
    names = [escape_markdown(predictor.description.classes[label]) for label in order]
    (overlaid,) = overlay(pixels[None], grad_cam(predictor, pixels[None], order[:1]))
    st.subheader(f"{names[0]} · {probabilities[order[0]]:.1%}", anchor=False)
    st.caption(escape_markdown(name))
    scores = predictor.score(features[None], probabilities[None])
    if scores is not None and scores[0] < predictor.description.familiar_from:
        st.warning(UNFAMILIAR)
    left, right = st.columns([3, 2], gap="medium")
    captions = ["as the model sees it", f"where it sees {names[0]}"]
    left.image([pixels, overlaid], captions, "stretch")
    for label, probability in zip(names, probabilities[order].tolist(), strict=True):
        right.progress(probability, f"{label} {probability:.1%}")
    return features


def show_nearest(predictor: Predictor, features: np.ndarray, train: Split) -> None:
    """Show the training images that are most similar to an image.

    Args:
        predictor: The model.
        features: Of the image, float32 [D].
        train: The training images.
    """
    modified = MODEL.stat().st_mtime_ns, (SPLIT / MANIFEST).stat().st_mtime_ns
    index = index_training_images(predictor, train, modified)
    pixels, labels, cosines = index.nearest(features, NEIGHBOURS)
    st.caption("The training images most similar to it, and the cosine similarity of the features:")
    captions = [
        f"{escape_markdown(label)} {cosine:.2f}"
        for label, cosine in zip(labels, cosines, strict=True)
    ]
    st.image(list(pixels), captions, "stretch")


@st.cache_resource(max_entries=1, show_spinner="Reading the training images …", show_time=True)
def index_training_images(
    _predictor: Predictor, _train: Split, modified: tuple[int, int]
) -> NeighbourIndex:
    """Compute the features of the training images.

    Args:
        _predictor: The model.
        _train: The training images.
        modified: When the files of both were modified; new values compute the features again.
    """
    return build_index(
        lambda pixels: _predictor.predict_with_features(pixels)[1], _train, MAX_COMPARED
    )


if __name__ == "__main__":
    main()
