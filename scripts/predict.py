"""Predict the class of images.

    python -m scripts.predict cat.jpg holiday/ 'more/*.png' https://example.org/dog.jpg
    find / -name '*.jpg' | python -m scripts.predict --csv - > found.csv
    python -m scripts.predict - < cat.jpg
    python -m scripts.predict --at-least 0.95 holiday/

A folder means all images below it, whatever their names end in; the other files are named, and
links are followed. - means an image on standard input, or a list of any of these, one per line.
"""

import argparse
import csv
import glob
import io
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, TextIO

import numpy as np
from tqdm import tqdm

from transfer.core.console import quiet
from transfer.core.errors import UserError, one_line, printable, run_main, shown
from transfer.core.files import MODEL, check_exists
from transfer.core.parallel import CORES, map_in_threads
from transfer.data.find import START, LeftOut, find_images, is_image
from transfer.download import fetch
from transfer.serving.predictor import Predictor, load_predictor

BATCH_SIZE = 4  # each core has one batch
STANDARD_INPUT = "-"
YES_OR_NO = {True: "yes", False: "no", None: ""}


class Answer(NamedTuple):
    """What a model says about an image.

    best: The most probable class; None if its probability is below --at-least.
    probabilities: Of the classes, float32 [C].
    familiarity: From 0 to 1; None if the model can't tell.
    familiar: Whether that is enough; None if the model can't tell.
    """

    best: int | None
    probabilities: np.ndarray
    familiarity: float | None = None
    familiar: bool | None = None


# The name of an image, and the answer or why the image can't be read.
Prediction = tuple[str, Answer | str]


def main() -> None:
    arguments = parse()
    check_model(arguments.model)
    content = sys.stdin.buffer.read() if STANDARD_INPUT in arguments.images else b""
    names = [name for argument in arguments.images for name in expand(argument, content)]
    if not names:
        raise UserError(f"there are no images in {', '.join(arguments.images)}")

    predictor, least = load_predictor(arguments.model), arguments.at_least

    def predict(batch: list[str]) -> list[Prediction]:
        decoded = [decode(predictor.decode, name, content) for name in batch]
        pixels = [result for result in decoded if isinstance(result, np.ndarray)]
        rows = iter(answer(predictor, np.stack(pixels), least) if pixels else ())
        return [
            (name, result if isinstance(result, str) else next(rows))
            for name, result in zip(batch, decoded, strict=True)
        ]

    failed, unsure = [], []
    batches = [names[i : i + BATCH_SIZE] for i in range(0, len(names), BATCH_SIZE)]
    # On a terminal, the lines of the output show the progress.
    hidden = sys.stdout.isatty() or None
    with (
        quiet() as stderr,
        tqdm(total=len(names), unit=" images", file=stderr, disable=hidden) as bar,
    ):
        predictions = map_in_threads(predict, batches, 2 * CORES)
        rows = readable(predictions, bar, failed, unsure, stderr)
        arguments.write(rows, predictor.description.classes)
    if least:
        print(
            f"no class: {len(unsure)} of {len(names)} images, of which no class has a probability "
            f"of {least:g} or more",
            file=sys.stderr,
        )
    if failed:
        raise UserError(f"{len(failed)} of {len(names)} images could not be read")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="+", help="files, folders, patterns, URLs, or -")
    parser.add_argument("--model", type=Path, default=MODEL, help=f"instead of {MODEL}")
    parser.add_argument(
        "--at-least",
        type=fraction,
        default=0.0,
        metavar="P",
        help="name no class whose probability is lower, from 0 to 1",
    )
    form = parser.add_mutually_exclusive_group()
    for name, write in (("--json", write_json), ("--csv", write_csv)):
        form.add_argument(name, dest="write", action="store_const", const=write)
    parser.set_defaults(write=write_table)
    return parser.parse_args()


def fraction(text: str) -> float:
    """Read a number from 0 to 1.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1; received {shown(text)}")
    return value


def check_model(path: Path) -> None:
    """Refuse to go on without a model, before TensorFlow takes seconds to load.

    Raises:
        UserError: There is none.
    """
    if path == MODEL:
        check_exists(path)
    elif not path.is_file():
        raise UserError(f"--model: expected a .keras file of this pipeline; there is no {path}")


def expand(argument: str, content: bytes) -> list[str]:
    """Return the names of the images that an argument means.

    Args:
        argument: A file, a folder, a pattern, a URL or -.
        content: What came on standard input: an image, or a list of arguments.
    """
    if argument == STANDARD_INPUT and not is_image(argument, content[:START]):
        # A name may begin or end with a space; splitlines() would also split at U+2028.
        lines = os.fsdecode(content).replace("\r\n", "\n").split("\n")
        return [name for line in lines if line.strip() for name in expand(line, b"")]
    if fetch.is_url(argument) or argument == STANDARD_INPUT:
        return [argument]
    path = Path(argument)
    if path.is_dir():
        names, left_out = find_images(path)
        report_left_out(path, left_out)
        return [str(path / name) for name in names]
    if not path.exists() and glob.has_magic(argument):
        found = sorted(glob.glob(argument, recursive=True))
        return [name for match in found for name in expand(match, b"")]
    return [argument]


def report_left_out(folder: Path, left_out: LeftOut) -> None:
    """Name on stderr what is in a folder and is not predicted."""
    lines = [f"{printable(str(folder / name))}: {why}" for name, why, _ in left_out.rejected]
    if left_out.hidden:
        names = ", ".join(printable(name) for name in sorted(left_out.hidden))
        lines.append(f"{printable(str(folder))}: hidden, or made by a system: {names}")
    for line in lines:
        print(f"left out: {line}", file=sys.stderr)


def decode(
    decode_file: Callable[[Path | BinaryIO], np.ndarray | str], name: str, content: bytes
) -> np.ndarray | str:
    """Return an image's pixels, uint8 [H, W, 3], or the reason why it can't be read.

    Args:
        decode_file: Decodes a file on the disk or in memory.
        name: A path, a URL or -.
        content: What came on standard input.
    """
    if name == STANDARD_INPUT:
        return decode_file(io.BytesIO(content))
    if not fetch.is_url(name):
        return decode_file(Path(name))
    try:
        with fetch.kept_if_valid(fetch.fetch(name), keep=False) as path:  # it is needed once
            return decode_file(path)
    except (UserError, FileNotFoundError) as error:
        return one_line(error)


def answer(predictor: Predictor, pixels: np.ndarray, least: float) -> list[Answer]:
    """Return what a model says about images.

    Args:
        predictor: The model.
        pixels: uint8 [N, H, W, 3].
        least: The lowest probability of a class that is named.
    """
    probabilities, scores = predictor.run(pixels)
    best = [int(row.argmax()) if row.max() >= least else None for row in probabilities]
    if scores is None:
        return list(map(Answer, best, probabilities))
    familiar = scores >= predictor.description.familiar_from
    return list(map(Answer, best, probabilities, scores.tolist(), familiar.tolist()))


def readable(
    batches: Iterable[list[Prediction]],
    bar: tqdm,
    failed: list[str],
    unsure: list[str],
    stderr: TextIO,
) -> Iterator[Prediction]:
    """Yield the predictions one by one; report the images that could not be read.

    Args:
        batches: Predictions, batch by batch.
        bar: Progress in images, updated after each batch.
        failed: Filled with the names of the images that could not be read.
        unsure: Filled with the names of the images that get no class.
        stderr: Where to report them.
    """
    for batch in batches:
        for name, result in batch:
            if isinstance(result, str):
                failed.append(name)
                bar.write(f"{printable(name)}: {result}", file=stderr)
                continue
            if result.best is None:
                unsure.append(name)
            yield name, result
        bar.update(len(batch))


def write_table(predictions: Iterable[Prediction], classes: list[str]) -> None:
    """Print the class, ? if none is named, and its probability in aligned columns."""
    width = max(map(len, ["class", *classes]))
    print(f"{'class':<{width}}  probability  familiar  image")
    for name, (best, probabilities, _, familiar) in predictions:
        named = "?" if best is None else classes[best]
        print(
            f"{named:<{width}}  {probabilities.max():11.4f}  {YES_OR_NO[familiar]:<8}  "
            f"{printable(name)}"
        )


def write_json(predictions: Iterable[Prediction], classes: list[str]) -> None:
    """Print one JSON object per line, with the probabilities of all classes."""
    for name, (best, probabilities, familiarity, familiar) in predictions:
        values = dict(zip(classes, np.round(probabilities.astype(float), 5).tolist(), strict=True))
        row = {"image": name, "class": None if best is None else classes[best]}
        row |= {"probability": max(values.values()), "familiar": familiar}
        row["familiarity"] = None if familiarity is None else round(familiarity, 5)
        print(json.dumps(row | {"probabilities": values}))


def write_csv(predictions: Iterable[Prediction], classes: list[str]) -> None:
    """Print CSV with a header and a column for each class."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["image", "class", "probability", "familiar", *classes])
    for name, (best, probabilities, _, familiar) in predictions:
        values = np.round(probabilities.astype(float), 5).tolist()
        named = "" if best is None else classes[best]
        writer.writerow([name, named, max(values), YES_OR_NO[familiar], *values])


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` may close the pipe early
    run_main(main)
