"""The YAML block at the top of the model card, by which the Hugging Face hub finds and lists it."""

import math
from pathlib import PurePosixPath

import yaml

TASK = "image-classification"
METRICS = {  # the hub's names of our scores
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "f1",
    "roc_auc": "roc_auc",
    "brier": "brier_score",
}


def front_matter(facts: dict) -> str:
    """Return the block, between its two lines of dashes.

    It names no licence: the model's depends on that of the images, which is unknown.

    Args:
        facts: What `collect_facts` returned.
    """
    dataset = dataset_name(facts["source"])
    scores = [
        {"type": METRICS[score], "value": float(row["fine-tuned"]), "name": score.replace("_", " ")}
        for score, row in facts["scores"].items()
        if score in METRICS and math.isfinite(float(row["fine-tuned"]))
    ]
    result = {
        "task": {"type": TASK, "name": "Image Classification"},
        # imagefolder is the hub's loader for one folder per class.
        "dataset": {"name": dataset, "type": "imagefolder", "split": "test"},
        "metrics": scores,
    }
    backbone = facts["params"]["backbone"]
    block = {
        "library_name": "keras",
        "pipeline_tag": TASK,
        "tags": ["transfer-learning", backbone],
        "metrics": [score["type"] for score in scores],
        "model-index": [{"name": f"{backbone} on {dataset}", "results": [result]}],
    }
    text = yaml.safe_dump(block, sort_keys=False, allow_unicode=True, width=math.inf)
    return f"---\n{text}---\n\n"


def dataset_name(source: str) -> str:
    """Return the last part of a path or a URL; the folders above it are nobody's business."""
    path = source.partition("?")[0] if "://" in source else source
    return PurePosixPath(path).name or source
