"""Corrections of labels by people: corrections.csv, a row for the content of each image."""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from transfer.core.errors import UserError, did_you_mean, one_line, printable, shown
from transfer.core.files import CORRECTIONS, write_csv
from transfer.data.labels import EXCLUDE, SPLITS, ImageTable

LISTED = 3  # corrections without effect, of each kind; more are counted


class Correction(NamedTuple):
    """What a person has decided about all images of one content.

    sha256: Of the content, hex.
    path: Of one of these images below data/raw, for people.
    old: The label that its folder or table gives it.
    new: The right label, which is `old` if a person has confirmed it; or EXCLUDE.
    who: Who has decided it, or empty.
    why: The reason, or empty.
    line: Of the file.
    """

    sha256: str
    path: str
    old: str
    new: str
    who: str = ""
    why: str = ""
    line: int = 0

    @property
    def where(self) -> str:
        """Name the row in a message."""
        return printable(f"{CORRECTIONS}, line {self.line} ({self.path})")


COLUMNS = Correction._fields[:-1]


@dataclass(frozen=True)
class Corrected:
    """N images with their corrections.

    table: The images with the corrected labels.
    given: int [N], the labels before the corrections.
    excluded: Why an image is to be left out, by its index.
    settled: bool [N], whether its content had two labels before.
    row_count: Number of corrections.
    idle: Lines about those that have no effect.
    """

    table: ImageTable
    given: np.ndarray
    excluded: dict[int, str]
    settled: np.ndarray
    row_count: int
    idle: list[str]

    def changes(self, splits: np.ndarray, used: np.ndarray, excluded: np.ndarray) -> list[tuple]:
        """Return a row of CORRECTED_COLUMNS for each image with another label or left out.

        Args:
            splits: Indices into SPLITS, int [N].
            used: Indices of the images used, int [K].
            excluded: Indices of those left out that would be used without corrections, int [L].
        """
        names, paths, labels = self.table.class_names, self.table.paths, self.table.labels
        changed = used[labels[used] != self.given[used]].tolist()
        new_labels = [(i, names[labels[i]]) for i in changed]
        new_labels += [(i, EXCLUDE) for i in excluded[~self.settled[excluded]].tolist()]
        return sorted(
            (paths[i], SPLITS[splits[i]], names[self.given[i]], label) for i, label in new_labels
        )

    def summary(self, changes: Sequence[tuple]) -> list[str]:
        """Return lines for people about what was corrected.

        Args:
            changes: What `changes` returned.
        """
        if not self.row_count:
            return []
        labels = sum(label != EXCLUDE for *_, label in changes)
        counts = f"labels changed: {labels:,}, images left out: {len(changes) - labels:,}"
        return [f"{CORRECTIONS}, rows: {self.row_count:,}, {counts}", *self.idle]


def read_corrections(path: Path) -> dict[str, Correction]:
    """Read the corrections, by the SHA-256 of the content.

    Args:
        path: A CSV file with COLUMNS, of which `who` and `why` may be missing; or no file.

    Raises:
        UserError: It is no such file, a row is malformed, or two rows contradict each other.
    """
    found = {}
    if not path.exists():
        return found
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="", strict=True)
            columns = reader.fieldnames or []
            if not {*COLUMNS[:4]} <= {*columns} <= {*COLUMNS} or len({*columns}) < len(columns):
                raise UserError(
                    f"{path}: expected a header with the columns {', '.join(COLUMNS)}, separated "
                    f"by commas; received {shown(columns)}"
                )
            for row in reader:
                correction = _parse(row, path, reader.line_num)
                other = found.setdefault(correction.sha256, correction)
                if (other.old, other.new) != (correction.old, correction.new):
                    raise UserError(
                        f"{correction.where}: line {other.line} is about the same image; remove "
                        f"one. Received {shown(other.old)} to {shown(other.new)}, and "
                        f"{shown(correction.old)} to {shown(correction.new)}"
                    )
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected a CSV file in UTF-8: {one_line(error)}") from None
    return found


def _parse(row: dict, path: Path, line: int) -> Correction:
    """Return a row of a CSV file, which may have too many columns, as a correction."""
    where = f"{path}, line {line}"
    if None in row:
        raise UserError(f"{where}: expected {len(row) - 1} columns; received more: {shown(row)}")
    if not re.fullmatch("[0-9a-fA-F]{64}", row["sha256"]):
        raise UserError(
            f"{where}: expected the SHA-256 of an image file, 64 hexadecimal digits, as in "
            f"data/split/manifest.csv; received {shown(row['sha256'])}"
        )
    for column in ("old", "new"):
        if not row[column]:
            raise UserError(f"{where}: expected a label in the column {column}; received nothing")
    return Correction(**row | {"sha256": row["sha256"].lower()}, line=line)


def write_corrections(path: Path, corrections: Iterable[Correction]) -> None:
    """Write corrections in the order of the paths, so that few lines change with a decision.

    Args:
        path: Of the file, which is replaced whole or not at all.
        corrections: In any order.
    """
    rows = sorted(corrections, key=lambda correction: (correction.path, correction.sha256))
    write_csv(path, COLUMNS, (row[: len(COLUMNS)] for row in rows))


def apply_corrections(
    corrections: Mapping[str, Correction], table: ImageTable, hashes: np.ndarray
) -> Corrected:
    """Correct the labels of images; a content with two labels gets the new one.

    A correction has no effect if no image has its content, or if `old` is not the label of one:
    then the label was changed where the images come from, after the decision.

    Args:
        corrections: What `read_corrections` returned.
        table: N images, as they are given.
        hashes: SHA-256 of their contents, 32 bytes [N].

    Raises:
        UserError: The new label of an image is not a class.
    """
    labels, excluded, settled = table.labels.copy(), {}, np.zeros(len(table.paths), bool)
    keys = {sha256: bytes.fromhex(sha256).rstrip(b"\0") for sha256 in corrections}  # as NumPy does
    indices_of = defaultdict(list)
    for index in np.flatnonzero(np.isin(hashes, np.array([*keys.values()], hashes.dtype))).tolist():
        indices_of[bytes(hashes[index])].append(index)
    unmatched, outdated = [], []
    for sha256, correction in corrections.items():
        if not (indices := indices_of.get(keys[sha256])):
            unmatched.append(f"{correction.where} matches no image")
            continue
        _check_new_label(correction, table.class_names)
        given = sorted({table.class_names[label] for label in table.labels[indices]})
        if correction.old not in given:
            outdated.append(
                f"{correction.where} has no effect: the label is {' and '.join(given)}, no longer "
                f"{correction.old}; remove the row, or correct its column old"
            )
            continue
        settled[indices] = len(given) > 1
        if correction.new == EXCLUDE:
            labels[indices] = labels[indices[0]]
            why = f": {correction.why}" if correction.why else ""
            excluded |= dict.fromkeys(indices, printable(f"excluded by {CORRECTIONS}{why}"))
        else:
            labels[indices] = table.class_names.index(correction.new)
    idle = [*_first(unmatched, "match no image"), *_first(outdated, "have no effect")]
    corrected = replace(table, labels=labels)
    return Corrected(corrected, table.labels, excluded, settled, len(corrections), idle)


def _check_new_label(correction: Correction, class_names: Sequence[str]) -> None:
    """Check that an image can get its new label."""
    if correction.new == EXCLUDE and EXCLUDE in class_names:
        raise UserError(
            f"{correction.where}: {EXCLUDE} leaves an image out, but is the name of a class, too; "
            "rename the class"
        )
    if correction.new not in (*class_names, EXCLUDE):
        names = f"{', '.join(class_names[:10])}{', …' if len(class_names) > 10 else ''}"
        raise UserError(
            f"{correction.where}: expected a class as the new label ({names}), or {EXCLUDE} to "
            f"leave the image out; received {shown(correction.new)}"
            f"{did_you_mean(correction.new, [*class_names, EXCLUDE])}. A new class can't come by "
            "correction: it needs images in a folder of its own, or in the table"
        )


def _first(lines: Sequence[str], what: str) -> list[str]:
    """Return the first lines, and one that counts all if there are more."""
    more = [f"{len(lines):,} rows of {CORRECTIONS} {what}"] if len(lines) > LISTED else []
    return [*(printable(line) for line in lines[:LISTED]), *more]
