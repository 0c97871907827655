"""Write a folder that the Hugging Face hub takes as it is: the model and its card. Upload nothing.

    python -m scripts.publish [FOLDER]

The folder, publish/ by default, holds no images, since these may not be yours to show. An earlier
one is replaced, unless somebody has changed it.
"""

import argparse
import json
import shlex
import shutil
import zipfile
from pathlib import Path

from scripts.export import EXPORTS
from transfer.core.errors import UserError, printable
from transfer.core.files import (
    MODEL,
    MODEL_CARD,
    PLOTS,
    check_exists,
    list_files,
    replacing,
    sha256,
)
from transfer.core.stage import run_stage

FOLDER = Path("publish")
CARD, SUMS = "README.md", "SHA256SUMS"  # the sums also mark a folder as written by this script
FOR_KERAS = ("config.json", "metadata.json", "model.weights.h5")  # load_model("hf://…") reads these
# Those that show no images.
FIGURES = {
    "learning_curves": "Accuracy and loss in training",
    "confusion_matrix": "Confusion matrix of the test images",
    "roc_and_precision_recall": "ROC, and precision by recall",
    "reliability": "How often it is right, by how sure it is",
    "selective_answers": "Answers and mistakes, by how sure it must be to answer",
    "familiarity": "How familiar the test images are",
}
USAGE = """
## From the hub

`metrics/`, `plots/report.html` and `scripts.predict` belong to the project that trained the model,
and are not here. Without it, after `pip install tensorflow huggingface_hub pillow`:

```python
import json
from pathlib import Path

import keras
import numpy as np
from huggingface_hub import snapshot_download
from PIL import Image, ImageOps

folder = Path(snapshot_download("USER/NAME"))
model = keras.models.load_model(folder / "model.keras")
classes = json.loads((folder / "metadata.json").read_text())["description"]["classes"]

image = ImageOps.exif_transpose(Image.open("image.jpg")).convert("RGB")
image = {square}
logits = model.predict(np.asarray(image)[None])  # raw pixels, from 0 to 255
{probabilities}
print(dict(zip(classes, probabilities)))
```

`keras.saving.load_model("hf://USER/NAME")` loads the same model.{exports}

## Figures
"""
SQUARE = {  # by crop_to_aspect_ratio, as transfer/preprocessing/decoding.py does it
    True: "ImageOps.fit(image, model.input_shape[1:3], Image.Resampling.LANCZOS)",
    False: "image.resize(model.input_shape[1:3], Image.Resampling.LANCZOS)",
}
PROBABILITIES = {  # by whether there are two classes
    True: "second = float(keras.ops.sigmoid(logits)[0, 0])\nprobabilities = [1 - second, second]",
    False: "probabilities = np.asarray(keras.ops.softmax(logits)[0]).tolist()",
}
EXPORTED = " `exports/` has it for TensorFlow,\nLiteRT and ONNX."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, help="default: publish")
    folder = parser.parse_args().folder
    for path in (MODEL, MODEL_CARD, PLOTS):
        check_exists(path)
    check_folder(folder)
    card, digest = MODEL_CARD.read_text("utf-8"), sha256(MODEL)
    if digest not in card:
        raise UserError(f"{MODEL_CARD} is that of another {MODEL}; dvc repro writes it anew")
    has_exports = are_exported(digest)
    with replacing(folder) as temporary:
        figures = copy_files(temporary, has_exports)
        (temporary / CARD).write_text(readme(card, figures, has_exports), "utf-8")
        (temporary / SUMS).write_text(sums(temporary), "utf-8")
    size = sum((folder / name).stat().st_size for name in list_files(folder))
    name = printable(shlex.quote(str(folder)))
    print(
        f"{name}: {size / 1e6:.1f} MB, not uploaded. Read README.md first: it names the classes, "
        f"the parameters and where the images are from. To upload it:\nhf upload USER/NAME {name}"
    )


def check_folder(folder: Path) -> None:
    """Refuse to replace a folder that this script did not write, or that was changed since.

    Raises:
        UserError: It is one.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    name, written = printable(str(folder)), folder / SUMS
    if not written.is_file():
        raise UserError(f"{name}: expected a new folder, or one that this script wrote earlier")
    changed = set(sums(folder).splitlines()) ^ set(written.read_text("utf-8").splitlines())
    if changed:
        file = printable(min(line.partition("  ")[2] for line in changed))
        raise UserError(
            f"{name}: {file} was added, changed or removed since this script wrote the folder; "
            "move the folder away, or name another one"
        )


def sums(folder: Path) -> str:
    """Return the hashes of all files below a folder, as `sha256sum --check` reads them."""
    names = [name for name in list_files(folder) if name != SUMS]
    return "".join(f"{sha256(folder / name)}  {name}\n" for name in names)


def are_exported(digest: str) -> bool:
    """Return whether `make export` has exported this model, given its SHA-256."""
    if not EXPORTS.exists():
        return False
    from transfer.serving.engine import load_engine  # ONNX Runtime takes a moment to load

    is_this = load_engine(EXPORTS / "model.onnx").description.model_sha256 == digest
    if not is_this:
        print(f"{EXPORTS}/ is left out: it is that of another model; make export makes it anew")
    return is_this


def copy_files(folder: Path, has_exports: bool) -> list[str]:
    """Fill a new folder with the model, as a file and unpacked, the figures and the exports.

    Returns:
        The figures that there are.
    """
    figures = [name for name in FIGURES if (PLOTS / f"{name}.png").exists()]
    (folder / PLOTS).mkdir(parents=True)
    for name in figures:
        shutil.copyfile(PLOTS / f"{name}.png", folder / PLOTS / f"{name}.png")
    shutil.copyfile(MODEL, folder / MODEL.name)
    with zipfile.ZipFile(MODEL) as saved:
        for name in FOR_KERAS:
            saved.extract(name, folder)
    if has_exports:
        shutil.copytree(EXPORTS, folder / EXPORTS)
    return figures


def readme(card: str, figures: list[str], has_exports: bool) -> str:
    """Return the card, then how to use the model without the project, and the figures.

    Args:
        card: As the stage `plot` wrote it.
        figures: Some names of FIGURES.
        has_exports: Whether the folder has exports.
    """
    with zipfile.ZipFile(MODEL) as saved:
        about = json.loads(saved.read("metadata.json"))["description"]
    usage = USAGE.format(
        square=SQUARE[about["crop_to_aspect_ratio"]],
        probabilities=PROBABILITIES[len(about["classes"]) == 2],
        exports=EXPORTED if has_exports else "",
    )
    shown = "".join(f"\n![{FIGURES[name]}](plots/{name}.png)\n" for name in figures)
    return card.replace(str(MODEL), MODEL.name) + usage + shown


if __name__ == "__main__":
    run_stage(main)
