"""Say what pictures show.

    python -m scripts.predict cat.jpg holiday/ 'more/*.png' https://example.org/dog.jpg
    find / -name '*.jpg' | python -m scripts.predict --csv - > found.csv
    python -m scripts.predict - < cat.jpg

A folder stands for all the pictures below it; - for a picture on standard input, or for a list of
any of these, one a line.
"""

import argparse
import csv
import glob
import io
import json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TextIO

import numpy as np
from PIL import Image
from tqdm import tqdm

from transfer.core.console import quiet
from transfer.core.errors import UserError, one_line, printable, run_main
from transfer.core.files import MODEL, list_files
from transfer.core.parallel import CORES, map_in_threads
from transfer.download import fetch
from transfer.download.archives import SUFFIXES
from transfer.preprocessing.decoding import FORMATS

BATCH = 32  # pictures; each core has one
STANDARD_INPUT = "-"

# Its name, and the probabilities of the classes or why it can't be read.
Prediction = tuple[str, np.ndarray | str]


def main() -> None:
    arguments = parse()
    content = sys.stdin.buffer.read() if STANDARD_INPUT in arguments.pictures else b""
    sources = [name for argument in arguments.pictures for name in expand(argument, content)]
    if not sources:
        raise UserError(f"there are no pictures in {', '.join(arguments.pictures)}")

    from transfer.serving.served import serve  # TensorFlow takes seconds to load

    served = serve(arguments.model)

    def predict(names: list[str]) -> list[Prediction]:
        read = [attempt(served.read, name, content) for name in names]
        pixels = [picture for picture in read if isinstance(picture, np.ndarray)]
        rows = iter(served.predict(np.stack(pixels)) if pixels else ())
        return [
            (name, result if isinstance(result, str) else next(rows))
            for name, result in zip(names, read, strict=True)
        ]

    failed = []
    batches = [sources[i : i + BATCH] for i in range(0, len(sources), BATCH)]
    # On a terminal the lines themselves show how far it is.
    hidden = sys.stdout.isatty() or None
    with (
        quiet() as stderr,
        tqdm(total=len(sources), unit=" pictures", file=stderr, disable=hidden) as bar,
    ):
        predictions = map_in_threads(predict, batches, 2 * CORES)
        arguments.write(readable(predictions, bar, failed, stderr), served.description.classes)
    if failed:
        raise UserError(f"{len(failed)} of {len(sources)} pictures could not be read")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", nargs="+", help="files, folders, patterns, URLs, or -")
    parser.add_argument("--model", type=Path, default=MODEL, help=f"instead of {MODEL}")
    form = parser.add_mutually_exclusive_group()
    for name, write in (("--json", write_json), ("--csv", write_csv)):
        form.add_argument(name, dest="write", action="store_const", const=write)
    parser.set_defaults(write=write_table)
    return parser.parse_args()


def expand(argument: str, content: bytes) -> list[str]:
    """Return the names of the pictures that an argument stands for.

    Args:
        content: What came on standard input: a picture, or a list of arguments.
    """
    if argument == STANDARD_INPUT and not is_picture(content):
        lines = content.decode(errors="surrogateescape").splitlines()
        return [name for line in lines if line.strip() for name in expand(line.strip(), b"")]
    if fetch.is_url(argument) or argument == STANDARD_INPUT:
        return [argument]
    path = Path(argument)
    if path.is_dir():
        names = list_files(path)
        return [str(path / name) for name in names if Path(name).suffix.lower() in SUFFIXES]
    if not path.exists() and glob.has_magic(argument):
        found = sorted(glob.glob(argument, recursive=True))
        return [name for match in found for name in expand(match, b"")]
    return [argument]


def is_picture(content: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS):
            return True
    except Exception:  # Pillow's decoders raise nearly anything
        return False


def attempt(read: Callable, name: str, content: bytes) -> np.ndarray | str:
    """Return a picture's pixels, or why they can't be had."""
    if name == STANDARD_INPUT:
        with NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            return read(Path(file.name))
    if not fetch.is_url(name):
        return read(Path(name))
    try:
        with fetch.kept_if_right(fetch.fetch(name), keep=False) as path:  # it is asked about once
            return read(path)
    except (UserError, FileNotFoundError) as error:
        return one_line(error)


def readable(
    batches: Iterable[list[Prediction]], bar: tqdm, failed: list[str], stderr: TextIO
) -> Iterator[Prediction]:
    """Yield the predictions one by one; say what could not be read and add it to `failed`."""
    for batch in batches:
        for name, result in batch:
            if isinstance(result, str):
                failed.append(name)
                bar.write(f"{printable(name)}: {result}", file=stderr)
            else:
                yield name, result
        bar.update(len(batch))


def write_table(predictions: Iterable[Prediction], classes: list[str]) -> None:
    width = max(map(len, ["class", *classes]))
    print(f"{'class':<{width}}  probability  picture")
    for name, probabilities in predictions:
        best = probabilities.argmax()
        print(f"{classes[best]:<{width}}  {probabilities[best]:11.4f}  {name}")


def write_json(predictions: Iterable[Prediction], classes: list[str]) -> None:
    for name, probabilities in predictions:
        values = dict(zip(classes, np.round(probabilities.astype(float), 5).tolist(), strict=True))
        best = max(values, key=values.get)
        row = {"picture": name, "class": best, "probability": values[best]}
        print(json.dumps(row | {"probabilities": values}))


def write_csv(predictions: Iterable[Prediction], classes: list[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["picture", "class", "probability", *classes])
    for name, probabilities in predictions:
        values = np.round(probabilities.astype(float), 5).tolist()
        writer.writerow([name, classes[probabilities.argmax()], max(values), *values])


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` takes what it wants
    sys.stdout.reconfigure(errors="surrogateescape")  # names need not be UTF-8
    run_main(main)
