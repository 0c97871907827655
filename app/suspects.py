"""The images that may have a wrong label, and what people decide about them."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from PIL import Image

from transfer.core.errors import UserError, shown
from transfer.core.files import CORRECTIONS, RAW, SPLIT, SUSPECTS, iter_csv, read_csv
from transfer.data.dataset import CORRECTED, MANIFEST, Split, evenly_spaced, load_split
from transfer.data.labels import EXCLUDE
from transfer.data.raw import RawImages, sha256_of
from transfer.preprocessing.corrections import Correction, read_corrections, write_corrections
from transfer.preprocessing.decoding import read_rgb

MAX_SIDE = 1_000  # of an image as it is shown, in pixels
MAKES = {  # what a person runs where a file is missing
    SPLIT / MANIFEST: f"`dvc pull {SPLIT}` fetches it, `dvc repro` makes it",
    SUSPECTS: f"`dvc pull {SUSPECTS}` fetches it, `dvc repro` makes it",
}


class Suspect(NamedTuple):
    """A row of data/suspects.csv: an image, and why its label may be wrong.

    kind: `label`, `outlier` or `twins`.
    suggested: A class, or empty.
    probability: Of its label, by models that did not learn from the image; as text, or empty.
    other: Path of a similar image, or empty.
    """

    path: str
    sha256: str
    split: str
    kind: str
    label: str
    suggested: str
    probability: str
    score: str
    other: str


@dataclass(frozen=True)
class Review:
    """The suspects with what is needed to judge them.

    suspects: Surest first, each content once.
    outdated: Number of suspects that are no longer in data/split.
    given: The labels before corrections, by the paths of the images with another label now.
    stored: Row in the manifest and label of each suspect and of the images similar to one.
    train: The training images.
    raw: The images in data/raw, if they are there.
    """

    suspects: list[Suspect]
    outdated: int
    given: dict[str, str]
    stored: dict[str, tuple[int, str]]
    train: Split
    raw: RawImages

    def decision(
        self, suspect: Suspect, corrections: Mapping[str, Correction]
    ) -> Correction | None:
        """Return what was decided about the label that the suspect has, if anything was."""
        correction = corrections.get(suspect.sha256)
        return correction if correction and correction.old == self.old_label(suspect) else None

    def old_label(self, suspect: Suspect) -> str:
        """Return the label before corrections."""
        return self.given.get(suspect.path, suspect.label)

    def next_open(self, corrections: Mapping[str, Correction], after: int = -1) -> int:
        """Return the index of the next suspect without a decision; their number if none is left."""
        count = len(self.suspects)
        indices = ((after + step) % count for step in range(1, count + 1))
        return next((i for i in indices if not self.decision(self.suspects[i], corrections)), count)

    def whole_image(self, suspect: Suspect) -> Image.Image | np.ndarray:
        """Return the image as a viewer shows it, or its stored square where data/raw lacks it."""
        try:
            file = self.raw.image_file(suspect.path)
            if sha256_of(file).hex() == suspect.sha256:
                image = read_rgb(file() if callable(file) else file)
                image.thumbnail((MAX_SIDE, MAX_SIDE))
                return image
        except (OSError, UserError):
            pass  # not fetched; or a newer data/raw, to be split yet
        return self.square(suspect.path)

    def square(self, path: str) -> np.ndarray:
        """Return the pixels in data/split, uint8 [H, W, 3], of an image in `stored`."""
        row, _ = self.stored[path]
        return self.train.images[[row]][0]

    def examples(self, label: str, max_count: int) -> np.ndarray:
        """Return training images of a class that are no suspects, uint8 [K, H, W, 3]."""
        images = self.unsuspected.get(label, np.array([], int))
        indices = images[evenly_spaced(len(images), max_count)]
        return self.train.images[self.train.rows[indices]]

    @cached_property
    def unsuspected(self) -> dict[str, np.ndarray]:
        """Indices of the training images that are no suspects, int [K], by class."""
        suspected = {suspect.path for suspect in self.suspects}
        found = {name: array("q") for name in self.train.class_names}
        for index, (path, label) in enumerate(
            zip(self.train.paths, self.train.labels.tolist(), strict=True)
        ):
            if path not in suspected:
                found[self.train.class_names[label]].append(index)
        return {name: np.array(indices, int) for name, indices in found.items()}


def missing_file() -> str | None:
    """Return a line about the first file that is missing and what makes it, or None."""
    lines = (f"There is no {path}: {how}." for path, how in MAKES.items() if not path.is_file())
    return next(lines, None)


def load_review() -> Review:
    """Read the suspects and the data set.

    Raises:
        UserError: data/suspects.csv has other columns.
    """
    rows = read_csv(SUSPECTS)
    if rows and set(rows[0]) != set(Suspect._fields):
        raise UserError(
            f"{SUSPECTS}: expected the columns {', '.join(Suspect._fields)}; received "
            f"{shown([*rows[0]])}; `dvc repro` makes it again"
        )
    found = {}
    for row in rows:
        found.setdefault(row["sha256"], Suspect(**row))
    wanted = {path for suspect in found.values() for path in (suspect.path, suspect.other)}
    stored, contents = {}, {}
    for index, row in enumerate(iter_csv(SPLIT / MANIFEST)):
        if row["path"] in wanted:
            stored[row["path"]] = index, row["label"]
            contents[row["path"]] = row["sha256"]
    suspects = [
        suspect
        for suspect in found.values()
        if contents.get(suspect.path) == suspect.sha256 and stored[suspect.path][1] == suspect.label
    ]
    return Review(
        suspects=suspects,
        outdated=len(found) - len(suspects),
        given={
            row["path"]: row["given_label"]
            for row in iter_csv(SPLIT / CORRECTED)
            if row["label"] != EXCLUDE
        },
        stored=stored,
        train=load_split(SPLIT, "train"),
        raw=RawImages(RAW),
    )


def replace_decision(sha256: str, new: Correction | None) -> Correction | None:
    """Write a decision to corrections.csv, or remove it; return the one before.

    Args:
        sha256: Of the image's content.
        new: The decision, or None.

    Raises:
        UserError: The file is malformed; it stays as it is.
    """
    corrections = read_corrections(CORRECTIONS)
    old = corrections.pop(sha256, None)
    write_corrections(CORRECTIONS, [*corrections.values(), *([new] if new else [])])
    return old
