"""The report, one HTML file that needs nothing else, and the model's card in Markdown."""

import base64
import hashlib
import io
import re
from array import array
from collections import Counter
from pathlib import Path

import jinja2
import matplotlib
import numpy as np
import PIL
import sklearn
from PIL import Image

from transfer.core.files import (
    METRICS,
    MODEL,
    PREDICTIONS,
    SPLIT,
    iter_csv,
    read_csv,
    read_json,
    sha256,
)
from transfer.core.runtime import keras, tf
from transfer.data.dataset import MANIFEST, NEAR_DUPLICATES, REJECTED, Split
from transfer.data.labels import SPLITS, Rejected, summary
from transfer.evaluation.grad_cam import grad_cam, overlay
from transfer.evaluation.metrics import wilson_interval

TEMPLATES = Path(__file__).parent / "templates"
LISTED = 10  # of what may be many
PHOTO_SIDE = 224  # pixels, at most
LIBRARIES = {
    "TensorFlow": tf,
    "Keras": keras,
    "NumPy": np,
    "Pillow": PIL,
    "scikit-learn": sklearn,
    "Matplotlib": matplotlib,
}
# What Markdown gives a meaning to; to an underscore inside a word it gives none.
MARKUP = re.compile(r"[\\`*<>\[\]|&#~$]|(?<![^\W_])_|_(?![^\W_])")


def gather(params: dict) -> dict:
    """Read from the files of the stages before what report and card say."""
    pictures, sizes, content_sha256 = read_manifest()
    rejected = [Rejected(**row) for row in read_csv(SPLIT / REJECTED)]
    near = read_csv(SPLIT / NEAR_DUPLICATES)
    pairs = Counter((row["label"], row["prediction"]) for row in iter_csv(PREDICTIONS))
    confused = Counter({pair: count for pair, count in pairs.items() if pair[0] != pair[1]})
    training, tuning = (read_json(METRICS / f"{name}.json") for name in ("train_head", "fine_tune"))
    return {
        "params": params,
        "splits": {
            name: sum(n for (_, split), n in pictures.items() if split == name) for name in SPLITS
        },
        "classes": class_table(pictures, read_csv(METRICS / "classes.csv")),
        "sizes": sizes,
        "rejected": rejected,
        "rejected_kinds": summary(rejected),
        "near": near,
        "scores": {row["score"]: row for row in read_csv(METRICS / "scores.csv")},
        "mcnemar_p": read_json(METRICS / "evaluate.json")["mcnemar_p"],
        "phases": {"head": training, "fine-tuned": tuning},
        "tested": pairs.total(),
        "mistakes": confused.total(),
        "confused": confused.most_common(LISTED),
        "content_sha256": content_sha256,
        "manifest_sha256": sha256(SPLIT / MANIFEST),
        "model_sha256": sha256(MODEL),
        "model_bytes": MODEL.stat().st_size,
        "libraries": {name: library.__version__ for name, library in LIBRARIES.items()},
        "listed": LISTED,
    }


def read_manifest() -> tuple[Counter, np.ndarray, str]:
    """Read the manifest once, row by row, for there may be millions.

    Returns:
        How many pictures of each label and split there are; their widths and heights, int [N, 2],
        those of the smallest picture first; and what `data_sha256` means, over the pictures used:
        the same if none was left out.
    """
    pictures, sizes, content = Counter(), array("i"), hashlib.sha256()
    for row in iter_csv(SPLIT / MANIFEST):  # sorted by their paths, as `data_sha256` has them
        pictures[row["label"], row["split"]] += 1
        sizes.extend((int(row["width"]), int(row["height"])))
        content.update(f"{row['sha256']}  ./{row['path']}\n".encode())
    sizes = np.array(sizes).reshape(-1, 2)
    order = np.argsort(sizes.prod(axis=1), kind="stable")
    return pictures, sizes[order], content.hexdigest()


def class_table(pictures: Counter, scores: list[dict]) -> list[dict]:
    """Return for each class its pictures by split and its scores, recall with an interval."""
    of_head = {row["class"]: row for row in scores if row["model"] == "head"}
    rows = []
    for row in scores:
        if row["model"] == "fine-tuned":
            name, tested = row["class"], int(row["pictures"])
            low, high = wilson_interval(round(float(row["recall"]) * tested), tested)
            more = {"low": low, "high": high, "head_recall": of_head[name]["recall"]}
            rows.append(row | more | {split: pictures[name, split] for split in SPLITS})
    return rows


def samples(split: Split, chosen: np.ndarray) -> list[dict]:
    """Return pictures of a split, with their labels."""
    return [
        {"photo": photo(pixels), "label": split.class_names[label]}
        for pixels, label in zip(
            split.images[split.rows[chosen]], split.labels[chosen], strict=True
        )
    ]


def explained(
    classifier: keras.Model, split: Split, probabilities: np.ndarray, chosen: np.ndarray
) -> list[dict]:
    """Return pictures of a split beside where the classifier sees what it says of them.

    Args:
        probabilities: float [N, C], of all the split's pictures.
        chosen: int [M], indices of some.
    """
    pixels, predictions = split.images[split.rows[chosen]], probabilities[chosen].argmax(axis=1)
    seen = overlay(pixels, grad_cam(classifier, pixels, predictions))
    return [
        {
            "photo": photo(pixels[place]),
            "seen": photo(seen[place]),
            "path": split.paths[index],
            "label": split.class_names[split.labels[index]],
            "prediction": split.class_names[predictions[place]],
            "probability": probabilities[index].max(),
        }
        for place, index in enumerate(chosen)
    ]


def photo(pixels: np.ndarray) -> str:
    """Return a picture, uint8 [H, W, 3], as a data: URI."""
    image = Image.fromarray(pixels)
    image.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
    file = io.BytesIO()
    image.save(file, format="WEBP", quality=80)
    return data_uri("image/webp", file.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def write_report(path: Path, facts: dict) -> None:
    """Write the report with the facts and the figures that lie beside it."""
    drawn = {
        figure.stem: data_uri("image/png", figure.read_bytes())
        for figure in path.parent.glob("*.png")
    }
    write(path, "report.html", facts | {"figures": drawn}, autoescape=True)


def write_card(path: Path, facts: dict) -> None:
    """Write the model's card."""
    write(path, "model_card.md", facts, finalize=escape_markdown)


def escape_markdown(value: object) -> object:
    """Return text so that Markdown shows it as it is, in a table, too; what is no text as it is."""
    if not isinstance(value, str):
        return value
    return MARKUP.sub(r"\\\g<0>", re.sub(r"[\r\n\t ]+", " ", value))


def write(path: Path, template: str, facts: dict, **options) -> None:
    """Write a template with the facts filled in."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )
    filters = (percent, plain)
    environment.filters |= {function.__name__: function for function in filters}
    path.write_text(environment.get_template(template).render(facts), encoding="utf-8")


def percent(share: float | str) -> str:
    """Return a share as people write it, with a space that does not break."""
    return f"{100 * float(share):.1f}\u00a0%"


def plain(value: object) -> str:
    """Return the value of a parameter as params.yaml has it."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
