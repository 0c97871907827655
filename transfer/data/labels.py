"""What the folders of an image say about it: its label and its split; why an image is rejected."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from transfer.core.errors import UserError, printable

SPLITS = ("train", "val", "test")
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
# What may stand beside such a word in the name of a folder: seg_train, test_set, TrainImages2.
BESIDE = "seg|set|data|dataset|split|folder|dir|imgs?|images?|pics?|pictures?|photos?|files"
_SPLIT_WORD = re.compile(rf"(?:{BESIDE})?({'|'.join(SPLIT_WORDS)})(?:{BESIDE})?")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)


def split_named(name: str) -> str | None:
    """Return the split that a name such as `Training_Set` of a folder means, or None."""
    words = _words(name)
    found = [match[1] for match in map(_SPLIT_WORD.fullmatch, words) if match]
    others = [word for word in words if not re.fullmatch(BESIDE, word)]
    return SPLIT_WORDS[found[0]] if len(found) == len(others) == 1 else None


def says_nothing(name: str) -> bool:
    """Return whether a folder has a name such as `images`, which is neither a split nor a class."""
    return all(re.fullmatch(BESIDE, word) for word in _words(name))


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", name.lower())


def class_named(name: str) -> str:
    """Return the name of the class that a folder or a label means: in NFC and without outer spaces.

    Programs write é as one character or as two, and a space at the end is nobody's intention.
    """
    return unicodedata.normalize("NFC", name).strip()


def check_class_names(names: Iterable[str]) -> None:
    """Check that no two names of classes look the same.

    Raises:
        UserError: One is blank, or two differ only in case, in spaces or in invisible characters.
    """
    seen = {}
    for name in sorted(names):
        key = " ".join(_INVISIBLE.sub("", name).lower().split())
        if not key:
            raise UserError(f"data_url: the name of a class is blank: {ascii(name)}; rename it")
        if key in seen:
            raise UserError(
                f"data_url: the classes {visible(seen[key])} and {visible(name)} differ only in "
                "case, in spaces or in characters that can't be seen; give them one name, or two "
                "that differ"
            )
        seen[key] = name


def visible(name: str) -> str:
    """Return a name in quotes, with escapes for what can't be seen."""
    return f"'{printable(_INVISIBLE.sub(lambda found: ascii(found[0])[1:-1], name))}'"


@dataclass(frozen=True)
class ImageTable:
    """Image files with their labels, in columns, since there may be millions.

    paths: N paths below data/raw.
    labels: int [N], indices into `class_names`.
    given_splits: int [N], indices into SPLITS if the folders name splits, else -1.
    class_names: Sorted.
    """

    paths: list[str]
    labels: np.ndarray
    given_splits: np.ndarray
    class_names: list[str]

    def at(self, indices: np.ndarray) -> "ImageTable":
        """Return the rows at some indices, int [K], as a table."""
        paths = [self.paths[index] for index in indices]
        return ImageTable(paths, self.labels[indices], self.given_splits[indices], self.class_names)


class Rejected(NamedTuple):
    """An image that is left out: its path below data/raw, the reason, and the kind of reason."""

    path: str
    reason: str
    kind: str


UNREADABLE, TWO_LABELS, COPY, EXCLUDED, NO_CLASS, NOT_IMAGES, ARCHIVES = KINDS = (
    *("unreadable", "with two labels", "second copies", "excluded"),
    *("in no class folder", "not images", "archives inside"),
)
EXCLUDE = "exclude"  # what corrections.csv has for a label, where an image is to be left out


def label_images(paths: Sequence[str]) -> ImageTable:
    """Derive labels and splits from folders: `cats/1.jpg` or `train/cats/1.jpg`.

    The first folder is a split if all first folders have names of splits, as `download` arranges.
    Images outside a class folder are left out.

    Args:
        paths: Paths below the folder that holds the class folders or the split folders.

    Raises:
        UserError: There are fewer than two classes, two of them look the same, or a split has no
            images of a class.
    """
    tops = sorted({path.split("/", 1)[0] for path in paths if "/" in path})
    split_of = {top: split_named(top) for top in tops}
    found = {*split_of.values()}
    depth = int(None not in found)  # number of folders above the class folders
    if depth and tops and "train" not in found:
        raise UserError(
            "data_url: expected images of the split train, too; received only " + ", ".join(tops)
        )
    paths = [path for path in paths if path.count("/") > depth]
    folders = sorted({path.split("/", depth + 1)[depth] for path in paths})
    class_of = {folder: class_named(folder) for folder in folders}
    class_names = sorted({*class_of.values()})
    if len(class_names) < 2:
        raise UserError(
            f"data_url: expected images of two or more classes; received {class_names or 'none'}"
        )
    check_class_names(class_names)
    codes = {folder: class_names.index(name) for folder, name in class_of.items()}
    labels = (codes[path.split("/", depth + 1)[depth]] for path in paths)
    split_codes = {top: SPLITS.index(split) for top, split in split_of.items() if split and depth}
    splits = (split_codes.get(path.split("/", 1)[0], -1) for path in paths)
    table = ImageTable(
        paths, np.fromiter(labels, np.int32), np.fromiter(splits, np.int8), class_names
    )
    for code in set(table.given_splits.tolist()) - {-1}:
        if missing := missing_classes(table, table.given_splits, code):
            raise UserError(
                f"data_url: the {SPLITS[code]} folder has no images of {', '.join(missing)}"
            )
    return table


def missing_classes(table: ImageTable, splits: np.ndarray, code: int) -> list[str]:
    """Return the names of the classes that have no image in a split.

    Args:
        table: N images.
        splits: Their splits, int [N], indices into SPLITS.
        code: The split, an index into SPLITS.
    """
    found = set(table.labels[splits == code].tolist())
    return [name for label, name in enumerate(table.class_names) if label not in found]


def summary(rejected: Sequence[Rejected]) -> list[str]:
    """Return a line for each kind of reason: the number of images, and the first one."""
    lines = []
    for kind in KINDS:
        if of_kind := sorted(image for image in rejected if image.kind == kind):
            path, reason, _ = of_kind[0]
            lines.append(printable(f"{len(of_kind):,} {kind}, the first {path}: {reason}"))
    return lines
