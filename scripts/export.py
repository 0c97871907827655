"""Write the model for other runtimes, and try each on the test pictures: python -m scripts.export

exports/ then holds a TensorFlow SavedModel, LiteRT in float32 and in int8, and ONNX. What differs
from Keras leaves the old exports as they are.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from transfer.core.console import quiet
from transfer.core.errors import UserError, one_line
from transfer.core.files import MODEL, SPLIT, list_files, replacing
from transfer.core.stage import run_stage
from transfer.data.dataset import IMAGES, MANIFEST, Split, load_split
from transfer.evaluation.metrics import scores
from transfer.serving.neighbours import spread_evenly

EXPORTS = Path("exports")
CALIBRATION = 200  # training pictures
TOLERANCE = 1e-3  # in probability; int8 has one in accuracy
HEADER = ("format", "accuracy", "largest difference", "MB", "ms a picture")
KERAS, INT8 = "Keras", "model_int8.tflite"


def main() -> None:
    for path in (MODEL, SPLIT / MANIFEST, SPLIT / IMAGES):
        if not path.exists():
            raise UserError(f"there is no {path}; dvc pull fetches it, dvc repro makes it")

    from transfer.models.classifier import load_model, read_description
    from transfer.serving.export import open_keras  # TensorFlow takes seconds to load

    classifier, classes = load_model(MODEL), read_description(MODEL).classes
    train, test = (load_split(SPLIT, name) for name in ("train", "test"))
    shape = classifier.input_shape[1:]
    if classes != test.class_names or shape != test.images.shape[1:]:
        raise UserError(
            f"{MODEL} tells {', '.join(classes)} in pictures {shape}, {SPLIT} has "
            f"{', '.join(test.class_names)} in {test.images.shape[1:]}; dvc repro makes both anew"
        )
    places = spread_evenly(len(train.rows), CALIBRATION)
    expected, seconds = try_out(KERAS, open_keras(classifier), test)
    rows = [(KERAS, expected, size(MODEL), seconds)]
    with replacing(EXPORTS) as folder:
        folder.mkdir()
        write_all(classifier, folder, train.images[train.rows[places]], test, rows)
        table = tabulate(rows, test.labels)
        print(table)
        check(rows, test.labels)
        (folder / "labels.txt").write_text("".join(f"{name}\n" for name in classes))
        (folder / "table.md").write_text(table + "\n")


def write_all(
    classifier: object, folder: Path, calibration: np.ndarray, test: Split, rows: list
) -> None:
    """Write each format and add to `rows` what its own runtime makes of the test pictures."""
    from transfer.serving import export

    infer = export.freeze(classifier)
    saved_model = folder / "saved_model"
    formats = {
        "saved_model": (lambda p: export.write_saved_model(infer, p), export.open_saved_model),
        "model.tflite": (lambda p: export.write_litert(saved_model, p), export.open_litert),
        INT8: (lambda p: export.write_litert(saved_model, p, calibration), export.open_litert),
        "model.onnx": (lambda p: export.write_onnx(infer, p), export.open_onnx),
    }
    for name, (write, load) in formats.items():
        path = folder / name
        try:
            with quiet():  # converters say much, none of it for people
                write(path)
                predict = load(path)
            probabilities, seconds = try_out(name, predict, test)
        except (UserError, OSError):
            raise
        except Exception as error:  # each converter and each runtime raises something else
            raise UserError(f"{name}: the model can't be exported: {one_line(error)}") from None
        rows.append((name, probabilities, size(path), seconds))


def try_out(name: str, predict: Callable, test: Split) -> tuple[np.ndarray, float]:
    """Return the probabilities of the test pictures, one at a time, and the seconds of each."""
    predict(test.images[test.rows[:1]])  # the first takes longer
    seconds, parts = 0.0, []
    for row in tqdm(test.rows, desc=name, unit=" pictures", disable=None):
        pixels = test.images[row[None]]
        start = time.perf_counter()
        parts.append(predict(pixels))
        seconds += time.perf_counter() - start
    return np.concatenate(parts), seconds / len(parts)


def size(path: Path) -> int:
    return sum((path / f).stat().st_size for f in list_files(path)) or path.stat().st_size


def difference(probabilities: np.ndarray, expected: np.ndarray) -> float:
    same = probabilities.shape == expected.shape
    return float(np.abs(probabilities - expected).max()) if same else np.inf


def tabulate(rows: list[tuple], labels: np.ndarray) -> str:
    lines = [HEADER, ("---", *["---:"] * (len(HEADER) - 1))]
    for name, probabilities, n_bytes, seconds in rows:
        accuracy = (probabilities.argmax(axis=1) == labels).mean()
        far = "" if name == KERAS else f"{difference(probabilities, rows[0][1]):.1g}"
        lines.append((name, f"{accuracy:.4f}", far, f"{n_bytes / 1e6:.1f}", f"{seconds * 1e3:.1f}"))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def check(rows: list[tuple], labels: np.ndarray) -> None:
    """Refuse formats that aren't the Keras model.

    Raises:
        UserError: A probability differs by more than TOLERANCE, or is none; or the accuracy in
            int8 is below the 95 % interval of Keras'.
    """
    expected = rows[0][1]
    for name, probabilities, *_ in rows[1:]:
        if name == INT8:
            accuracy = (probabilities.argmax(axis=1) == labels).mean()
            least = scores(labels, expected)["accuracy_low"]
            if not accuracy >= least:
                raise UserError(
                    f"{name}: accuracy {accuracy:.4f}, expected at least {least:.4f}, the low end "
                    f"of Keras' 95 % interval; {EXPORTS} stays as it was"
                )
        elif not (far := difference(probabilities, expected)) <= TOLERANCE:
            raise UserError(
                f"{name}: a probability differs from Keras' by {far:.2g}, expected at most "
                f"{TOLERANCE:g}; {EXPORTS} stays as it was"
            )


if __name__ == "__main__":
    run_stage(main)
