"""Compare scores that tell unfamiliar images, on a finished project and folders of other images.

python -m benchmarks.unfamiliar FOLDER … [--known FOLDER …] [--model models/model.keras]

The FOLDERs hold images of something else, those of --known images of the project's classes from
another source. Each score is learned from the training images; its limits are those that 95, 97.5
and 99 % of the validation images reach. The test images are also counted as they are and altered in
ten ways, as a stand-in for another source. models/head.keras has the features of the frozen base.
A class that is left out of the training: give its folder to a project that was run without it.
"""

import argparse
import io
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from sklearn.covariance import shrunk_covariance
from sklearn.metrics import roc_auc_score

from benchmarks.common import table
from transfer.core.files import MODEL, SPLIT
from transfer.data.dataset import evenly_spaced, load_split
from transfer.data.find import find_images
from transfer.models.familiarity import learn_familiarity
from transfer.serving.neighbours import normalize
from transfer.serving.predictor import Predictor, load_predictor
from transfer.training.familiarity import TRAIN_IMAGES

KEPT = (0.95, 0.975, 0.99)
NEIGHBOURS, SHRINKAGE, BATCH = 10, 0.7, 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("foreign", nargs="+", type=Path)
    parser.add_argument("--known", nargs="+", type=Path, default=[])
    parser.add_argument("--model", type=Path, default=MODEL)
    arguments = parser.parse_args()
    predictor = load_predictor(arguments.model)
    train, val, test = (load_split(SPLIT, name) for name in ("train", "val", "test"))
    sets = {"val": val.images[val.rows], "test": test.images[test.rows]}
    altered = [alter(pixels) for pixels in sets["test"]]
    sets |= {
        f"altered {i}": np.stack(images) for i, images in enumerate(zip(*altered, strict=True))
    }
    for folder in (*arguments.foreign, *arguments.known):
        sets[folder] = read(predictor, folder)
    seen = {name: run(predictor, pixels) for name, pixels in sets.items()}
    shown = run(predictor, train.images[train.rows])
    names = [name for name in sets if str(name).startswith("altered")]
    header = ["score", *(f"{f}, {len(sets[f])} images" for f in arguments.foreign), "area"]
    header += ["test", "altered", *(f"{f}, {len(sets[f])} images" for f in arguments.known)]
    rows = []
    for title, score in learn_scores(*shown, train.labels).items():
        scores = {name: score(*outputs) for name, outputs in seen.items()}
        limits = np.quantile(scores["val"], [1 - kept for kept in KEPT], method="lower")
        above = partial(percentages, limits=limits)
        foreign = np.concatenate([scores[folder] for folder in arguments.foreign])
        is_known = np.arange(len(foreign) + len(val.rows)) >= len(foreign)
        area = roc_auc_score(is_known, np.concatenate([foreign, scores["val"]]))
        row = [title, *(above(scores[folder]) for folder in arguments.foreign), f"{area:.4f}"]
        row += [above(scores["test"]), above(np.concatenate([scores[name] for name in names]))]
        rows.append(row + [above(scores[folder]) for folder in arguments.known])
    print(table(header, rows))
    print("Per cent that are familiar, where 95, 97.5 and 99 % of the validation images are.")


def read(predictor: Predictor, folder: Path) -> np.ndarray:
    """Return the images below a folder that can be read, uint8 [N, H, W, 3]."""
    names, _ = find_images(folder)
    decoded = [predictor.decode(folder / name) for name in names]
    return np.stack([pixels for pixels in decoded if isinstance(pixels, np.ndarray)])


def run(predictor: Predictor, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities [N, C] and features [N, D]."""
    batches = [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]
    parts = zip(*map(predictor.predict_with_features, batches), strict=True)
    return tuple(map(np.concatenate, parts))


def percentages(scores: np.ndarray, limits: np.ndarray) -> str:
    return " ".join(f"{100 * np.mean(scores >= limit):.1f}" for limit in limits)


def learn_scores(probabilities: np.ndarray, features: np.ndarray, labels: np.ndarray) -> dict:
    """Return functions of probabilities [N, C] and features [N, D], larger: more familiar."""
    unit = normalize(features)
    some = evenly_spaced(len(features), TRAIN_IMAGES)
    classes = probabilities.shape[1]
    familiarity = {
        name: learn_familiarity(features[chosen], classes)
        for name, chosen in (("familiarity", some), ("familiarity, all training images", ...))
    }
    _, _, directions = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    means = [unit[labels == label].mean(axis=0) for label in range(classes)]
    inside = unit - np.array(means)[labels]
    of_class, of_all = (
        np.linalg.inv(shrunk_covariance(np.cov(x.T), SHRINKAGE)) for x in (inside, unit)
    )

    def neighbours(_: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.sort(normalize(x) @ unit.T, axis=1)[:, -NEIGHBOURS:].mean(axis=1)

    def relative_mahalanobis(_: np.ndarray, x: np.ndarray) -> np.ndarray:
        x = normalize(x)
        nearest = np.min([distance(x - mean, of_class) for mean in means], axis=0)
        return distance(x - unit.mean(axis=0), of_all) - nearest

    def residual(_: np.ndarray, x: np.ndarray) -> np.ndarray:
        x = x - features.mean(axis=0)
        return -np.linalg.norm(x - x @ directions[:256].T @ directions[:256], axis=1)

    return {
        "largest probability": lambda p, _: p.max(axis=1),
        f"{NEIGHBOURS} nearest neighbours, cosine": neighbours,
        "relative Mahalanobis distance": relative_mahalanobis,
        "residual beyond 256 directions (ViM)": residual,
    } | {
        name: lambda p, x, learned=learned: np.asarray(learned.score(x, p))
        for name, learned in familiarity.items()
    }


def distance(offsets: np.ndarray, precision: np.ndarray) -> np.ndarray:
    return ((offsets @ precision) * offsets).sum(axis=1)


def alter(pixels: np.ndarray) -> list[np.ndarray]:
    """Return an image, uint8 [H, W, 3], in ten ways that another source may differ in."""
    image, size = Image.fromarray(pixels), len(pixels)
    fifth, jpeg = size // 5, io.BytesIO()
    image.save(jpeg, "JPEG", quality=30)
    smaller = image.resize((size - 2 * fifth,) * 2)
    wide = image.filter(ImageFilter.GaussianBlur(size // 20))
    wide.paste(smaller, (fifth, fifth))
    images = [
        Image.open(jpeg),
        image.resize((size * 3 // 7,) * 2).resize(image.size),
        image.crop((fifth, fifth, size - fifth, size - fifth)).resize(image.size),
        image.crop((0, 0, size * 3 // 5, size * 3 // 5)).resize(image.size),
        wide,
        ImageEnhance.Brightness(image).enhance(0.5),
        ImageEnhance.Brightness(image).enhance(1.5),
        image.filter(ImageFilter.GaussianBlur(size / 112)),
        image.convert("L").convert("RGB"),
        Image.fromarray((pixels * [1, 0.9, 0.65]).astype(np.uint8)),
    ]
    return [np.asarray(image) for image in images]


if __name__ == "__main__":
    main()
