"""Write the report, one HTML file that needs no other file, and the model card in Markdown."""

import base64
import hashlib
import io
import re
from array import array
from collections import Counter
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import jinja2
import numpy as np
from PIL import Image

from transfer.core.files import (
    METRICS,
    MODEL,
    NO_IMAGES,
    PREDICTIONS,
    SPLIT,
    SUSPECTS,
    iter_csv,
    read_csv,
    read_json,
    sha256,
)
from transfer.data.dataset import MANIFEST, NEAR_DUPLICATES, REJECTED, Split
from transfer.data.labels import ARCHIVES, NOT_IMAGES, SPLITS, Rejected, summary
from transfer.evaluation.grad_cam import grad_cam, overlay
from transfer.evaluation.metrics import wilson_interval
from transfer.models.compiled import CompiledClassifier
from transfer.reporting.front_matter import front_matter

TEMPLATES = Path(__file__).parent / "templates"
LISTED = 10  # rows of a table that could have very many
MAX_SIDE = 224  # of an image in the report, in pixels
LIBRARIES = ("TensorFlow", "Keras", "NumPy", "Pillow", "scikit-learn", "Matplotlib")
# Characters that mean something in Markdown; an underscore inside a word does not.
MARKUP = re.compile(r"[\\`*<>\[\]|&#~$]|(?<![^\W_])_|_(?![^\W_])")


def collect_facts(params: dict) -> dict:
    """Read what the report and the model card say from the files of the earlier stages.

    Args:
        params: All parameters by name.
    """
    counts, sizes, groups, content_sha256 = read_manifest()
    rejected = [Rejected(**row) for row in read_csv(SPLIT / REJECTED)]
    rejected = [row for row in rejected if row.kind not in (NOT_IMAGES, ARCHIVES)]
    near, suspects = read_csv(SPLIT / NEAR_DUPLICATES), read_csv(SUSPECTS)
    pairs = Counter((row["label"], row["prediction"]) for row in iter_csv(PREDICTIONS))
    confused = Counter({pair: count for pair, count in pairs.items() if pair[0] != pair[1]})
    head, fine_tuning = (
        read_json(METRICS / f"{name}.json") for name in ("train_head", "fine_tune")
    )
    return {
        "params": params,
        "source": params["data_url" if params["own_images"] == NO_IMAGES else "own_images"],
        "splits": {
            name: sum(n for (_, split), n in counts.items() if split == name) for name in SPLITS
        },
        "classes": class_table(counts, read_csv(METRICS / "classes.csv")),
        "sizes": sizes,
        "groups": groups,
        "rejected": rejected,
        "rejected_kinds": summary(rejected),
        "near": near,
        "suspects": suspects,
        "suspect_counts": Counter((row["kind"], row["split"]) for row in suspects),
        "scores": {row["score"]: row for row in read_csv(METRICS / "scores.csv")},
        "compared": read_json(METRICS / "evaluate.json"),
        "phases": {"head": head, "fine-tuned": fine_tuning},
        "tested": pairs.total(),
        "mistakes": confused.total(),
        "confused": confused.most_common(LISTED),
        "content_sha256": content_sha256,
        "manifest_sha256": sha256(SPLIT / MANIFEST),
        "model_sha256": sha256(MODEL),
        "model_bytes": MODEL.stat().st_size,
        "libraries": {name: version(name) for name in LIBRARIES},
        "listed": LISTED,
    }


def read_manifest() -> tuple[Counter, np.ndarray, int, str]:
    """Read the manifest once, row by row, since it may have millions of rows.

    Returns:
        The number of images by label and split; their widths and heights, int [N, 2], the smallest
        image first; the number of named groups; and the content hash of the images used, which is
        that of `data_sha256` if no image was left out.
    """
    counts, sizes, content = Counter(), array("i"), hashlib.sha256()
    groups = set()
    for row in iter_csv(SPLIT / MANIFEST):  # sorted by path, as `data_sha256` needs it
        counts[row["label"], row["split"]] += 1
        sizes.extend((int(row["width"]), int(row["height"])))
        groups.add(row["group"])
        content.update(f"{row['sha256']}  ./{row['path']}\n".encode())
    sizes = np.array(sizes).reshape(-1, 2)
    order = np.argsort(sizes.prod(axis=1), kind="stable")
    return counts, sizes[order], len(groups - {""}), content.hexdigest()


def first_suspects(count: int) -> list[dict]:
    """Return the first images that are worth a second look, each with its row in the manifest.

    Args:
        count: How many, if there are as many.
    """
    suspects = {row["path"]: row for row in islice(iter_csv(SUSPECTS), count)}
    for index, row in enumerate(iter_csv(SPLIT / MANIFEST)):
        if row["path"] in suspects:
            suspects[row["path"]]["row"] = index
    return list(suspects.values())


def class_table(counts: Counter, scores: list[dict]) -> list[dict]:
    """Return a row for each class: its images by split, and its scores, with a recall interval.

    Args:
        counts: Number of images by label and split.
        scores: Rows of metrics/classes.csv.
    """
    of_head = {row["class"]: row for row in scores if row["model"] == "head"}
    rows = []
    for row in scores:
        if row["model"] == "fine-tuned":
            name, tested = row["class"], int(row["images"])
            low, high = wilson_interval(round(float(row["recall"]) * tested), tested)
            more = {"low": low, "high": high, "head_recall": of_head[name]["recall"]}
            rows.append(row | more | {split: counts[name, split] for split in SPLITS})
    return rows


def sample_images(split: Split, indices: np.ndarray) -> list[dict]:
    """Return images of a split with their labels.

    Args:
        split: Holds the images.
        indices: int [M], which of its images.
    """
    pixels, labels = split.images[split.rows[indices]], split.labels[indices]
    return [
        {"image": webp_uri(image), "label": split.class_names[label]}
        for image, label in zip(pixels, labels, strict=True)
    ]


def explain_predictions(
    classifier: CompiledClassifier, split: Split, probabilities: np.ndarray, indices: np.ndarray
) -> list[dict]:
    """Return images of a split with Grad-CAM overlays of what was predicted.

    Args:
        classifier: The model that predicted.
        split: Holds the images.
        probabilities: float [N, C], of all images of the split.
        indices: int [M], the images to explain.
    """
    pixels, predictions = split.images[split.rows[indices]], probabilities[indices].argmax(axis=1)
    overlays = overlay(pixels, grad_cam(classifier, pixels, predictions))
    return [
        {
            "image": webp_uri(image),
            "overlay": webp_uri(overlaid),
            "path": split.paths[index],
            "label": split.class_names[split.labels[index]],
            "prediction": split.class_names[prediction],
            "probability": probabilities[index].max(),
        }
        for index, image, overlaid, prediction in zip(
            indices, pixels, overlays, predictions, strict=True
        )
    ]


def webp_uri(pixels: np.ndarray) -> str:
    """Return an image, uint8 [H, W, 3], as a data: URI."""
    image = Image.fromarray(pixels)
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    file = io.BytesIO()
    image.save(file, format="WEBP", quality=80)
    return data_uri("image/webp", file.getvalue())


def data_uri(media_type: str, content: bytes) -> str:
    """Return bytes as a data: URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def write_report(path: Path, facts: dict) -> None:
    """Write the report, with the figures in the same folder embedded.

    Args:
        path: The file to write.
        facts: What `collect_facts` returned, with samples and explained predictions.
    """
    drawn = {
        figure.stem: data_uri("image/png", figure.read_bytes())
        for figure in path.parent.glob("*.png")
    }
    text = render("report.html", facts | {"figures": drawn}, autoescape=True)
    path.write_text(text, encoding="utf-8")


def write_card(path: Path, facts: dict) -> None:
    """Write the model card.

    Args:
        path: The file to write.
        facts: What `collect_facts` returned.
    """
    text = render("model_card.md", facts, finalize=escape_markdown)
    path.write_text(front_matter(facts) + text, encoding="utf-8")


def escape_markdown(value: object) -> object:
    """Escape text so that Markdown, also a table, shows it as it is; return other values as is."""
    if not isinstance(value, str):
        return value
    return MARKUP.sub(r"\\\g<0>", re.sub(r"[\r\n\t ]+", " ", value))


def render(template: str, facts: dict, **options: object) -> str:
    """Fill in a template.

    Args:
        template: Its name.
        facts: Values of its variables.
        options: Of the Jinja environment.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )
    environment.filters |= {"percent": percent, "yaml_value": yaml_value}
    return environment.get_template(template).render(facts)


def percent(fraction: float | str) -> str:
    """Format a fraction as a percentage, with a space that does not break."""
    return f"{100 * float(fraction):.1f}\u00a0%"


def yaml_value(value: object) -> str:
    """Format the value of a parameter as in params.yaml."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
