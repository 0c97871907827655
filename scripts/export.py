"""Export the model for other runtimes, and try each export on the test images.

    python -m scripts.export

The folder exports/ then holds a TensorFlow SavedModel, LiteRT in float32 and in int8, and ONNX. If
an export differs too much from Keras, the old exports stay as they are.
"""

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

from transfer.core.console import quiet
from transfer.core.errors import UserError, one_line
from transfer.core.files import MODEL, SPLIT, check_exists, list_files, replacing
from transfer.core.stage import run_stage
from transfer.data.dataset import IMAGES, MANIFEST, Split, evenly_spaced, load_split
from transfer.evaluation.metrics import scores

if TYPE_CHECKING:  # TensorFlow takes seconds to load
    from transfer.core.runtime import keras
    from transfer.models.familiarity import Familiarity
    from transfer.serving.engine import Description
    from transfer.serving.export import Predict

EXPORTS = Path("exports")
CALIBRATION_IMAGES = 200  # of the training images
TOLERANCE = 1e-3  # of an output; for int8, the accuracy is checked instead
HEADER = ("format", "accuracy", "largest difference", "MB", "ms per image")
KERAS, INT8 = "Keras", "model_int8.tflite"


class Trial(NamedTuple):
    """How a format did on the test images.

    name: Of the format.
    probabilities: float32 [N, C].
    familiarity: float32 [N]; None if the format doesn't give it.
    size: Bytes on the disk.
    seconds: For an image, one at a time.
    """

    name: str
    probabilities: np.ndarray
    familiarity: np.ndarray | None
    size: int
    seconds: float


def main() -> None:
    for path in (MODEL, SPLIT / MANIFEST, SPLIT / IMAGES):
        check_exists(path)

    from transfer.models.classifier import load_model
    from transfer.models.description import read_familiarity
    from transfer.serving.export import describe, open_keras

    classifier, familiarity = load_model(MODEL), read_familiarity(MODEL)
    description = describe(MODEL, git_version())
    classes = description.classes
    train, test = (load_split(SPLIT, name) for name in ("train", "test"))
    check_match(classifier, classes, test)
    calibration = train.images[train.rows[evenly_spaced(len(train.rows), CALIBRATION_IMAGES)]]
    trials = [try_out(KERAS, open_keras(classifier, familiarity), test, MODEL)]
    with replacing(EXPORTS) as folder:
        folder.mkdir()
        trials += export_all(classifier, description, familiarity, folder, calibration, test)
        table = tabulate(trials, test.labels)
        print(table)
        check(trials, test.labels)
        (folder / "labels.txt").write_text("".join(f"{name}\n" for name in classes), "utf-8")
        (folder / "table.md").write_text(table + "\n", "utf-8")


def check_match(classifier: "keras.Model", classes: list[str], test: Split) -> None:
    """Refuse a model that was not trained on images and classes such as those of the split.

    Raises:
        UserError: The classes or the shapes of the images differ.
    """
    shape = classifier.input_shape[1:]
    if classes != test.class_names or shape != test.images.shape[1:]:
        raise UserError(
            f"{MODEL} has the classes {', '.join(classes)} and images of {shape}, {SPLIT} has "
            f"{', '.join(test.class_names)} and {test.images.shape[1:]}; dvc repro makes both anew"
        )


def git_version() -> str | None:
    """Return the version of the project as git describes it; None without git."""
    command = ["git", "describe", "--tags", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() or None
    except OSError:  # there is no git
        return None


def export_all(
    classifier: "keras.Model",
    description: "Description",
    familiarity: "Familiarity | None",
    folder: Path,
    calibration: np.ndarray,
    test: Split,
) -> list[Trial]:
    """Write each format, and run it in its own runtime on the test images.

    Args:
        classifier: The model to export.
        description: What the ONNX file says about it.
        familiarity: An output of all formats but int8, which is not exact enough.
        folder: Where to write.
        calibration: Images to calibrate int8 with, uint8 [M, H, W, 3].
        test: The test images.

    Raises:
        UserError: A format can't be written or run.
    """
    from transfer.serving import export

    infer, plain = export.freeze(classifier, familiarity), export.freeze(classifier)
    formats = {
        "saved_model": (lambda p: export.write_saved_model(infer, p), export.open_saved_model),
        "model.tflite": (lambda p: export.write_litert(infer, p), export.open_litert),
        INT8: (lambda p: export.write_litert(plain, p, calibration), export.open_litert),
        "model.onnx": (lambda p: export.write_onnx(infer, p, description), export.open_onnx),
    }
    trials = []
    for name, (write, load) in formats.items():
        path = folder / name
        try:
            with quiet():  # converters print much that no user needs
                write(path)
                predict = load(path)
            trials.append(try_out(name, predict, test, path))
        except (UserError, OSError):
            raise
        except Exception as error:  # each converter and each runtime raises something else
            raise UserError(f"{name}: the model can't be exported: {one_line(error)}") from None
    return trials


def try_out(name: str, predict: "Predict", test: Split, path: Path) -> Trial:
    """Predict the test images, one at a time.

    Args:
        name: Of the format.
        predict: From pixels to probabilities and familiarity.
        test: The test images.
        path: The exported file or folder, for its size.
    """
    predict(test.images[test.rows[:1]])  # the first call takes longer
    seconds, rows = 0.0, []
    for row in tqdm(test.rows, desc=name, unit=" images", disable=None):
        pixels = test.images[row[None]]
        start = time.perf_counter()
        rows.append(predict(pixels))
        seconds += time.perf_counter() - start
    outputs = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
    probabilities, familiarity = outputs["probabilities"], outputs.get("familiarity")
    return Trial(name, probabilities, familiarity, size(path), seconds / len(rows))


def size(path: Path) -> int:
    """Return the size of a file, or of all files below a folder, in bytes."""
    return sum((path / f).stat().st_size for f in list_files(path)) or path.stat().st_size


def difference(trial: Trial, expected: Trial) -> float:
    """Return the largest difference of an output; infinity if the shapes differ."""
    pairs = [(trial.probabilities, expected.probabilities)]
    if expected.familiarity is not None and trial.name != INT8:
        pairs.append((trial.familiarity, expected.familiarity))
    largest = [np.abs(a - b).max() if np.shape(a) == np.shape(b) else np.inf for a, b in pairs]
    return float(np.max(largest))  # not a number if one of them is not


def accuracy(trial: Trial, labels: np.ndarray) -> float:
    """Return the fraction of images that a format gets right."""
    return (trial.probabilities.argmax(axis=1) == labels).mean()


def tabulate(trials: list[Trial], labels: np.ndarray) -> str:
    """Return a Markdown table.

    Args:
        trials: Keras first.
        labels: Of the test images, int [N].
    """
    lines = [HEADER, ("---", *["---:"] * (len(HEADER) - 1))]
    for trial in trials:
        largest = difference(trial, trials[0])
        lines.append(
            (
                trial.name,
                f"{accuracy(trial, labels):.4f}",
                "" if trial.name == KERAS else f"{largest:.1g}",
                f"{trial.size / 1e6:.1f}",
                f"{trial.seconds * 1e3:.1f}",
            )
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def check(trials: list[Trial], labels: np.ndarray) -> None:
    """Refuse exports that differ too much from the Keras model.

    Args:
        trials: Keras first.
        labels: Of the test images, int [N].

    Raises:
        UserError: An output differs by more than TOLERANCE or is not a number; or the accuracy
            of int8 is below the 95 % interval of the accuracy of Keras.
    """
    for trial in trials[1:]:
        if trial.name == INT8:
            least = scores(labels, trials[0].probabilities)["accuracy_low"]
            received = accuracy(trial, labels)
            if not received >= least:
                raise UserError(
                    f"{trial.name}: accuracy {received:.4f}, expected at least {least:.4f}, the "
                    f"low end of Keras' 95 % interval; {EXPORTS} stays as it was"
                )
        elif not (largest := difference(trial, trials[0])) <= TOLERANCE:
            raise UserError(
                f"{trial.name}: an output differs from Keras' by {largest:.2g}, expected at most "
                f"{TOLERANCE:g}; {EXPORTS} stays as it was"
            )


if __name__ == "__main__":
    run_stage(main)
