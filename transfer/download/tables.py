"""A table of paths and labels, in place of class folders."""

import csv
import math
import os
from functools import partial
from pathlib import Path, PurePath

from transfer.core.errors import UserError, one_line, shown
from transfer.core.files import is_plain
from transfer.data.labels import FOLDER_NAMES
from transfer.download.archives import SUFFIXES, copy, is_hidden, open_file

SUFFIX = ".csv"


def copy_table(table: Path, target: Path) -> None:
    """Copy the pictures that a table names to `target`: label/picture, or split/label/picture.

    Raises:
        UserError: As by `read_table`.
    """
    copy(((name, partial(open_file, path)) for path, name in read_table(table)), target, math.inf)


def read_table(table: Path) -> list[tuple[Path, str]]:
    """Read a CSV file with the columns `path` and `label`, and `split` where it has one.

    Returns:
        For each row the picture, absolute, and its name below class folders.

    Raises:
        UserError: It is no such table, has no rows, or a row names no picture, one again, or a
            label or a split that can't be.
    """
    folders = {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            columns = reader.fieldnames or []
            if not {"path", "label"} <= set(columns):
                raise UserError(
                    f"data_url: {table.name}: expected a header with the columns path and label, "
                    f"between commas, and split where splits are given; received {shown(columns)}"
                )
            for row in reader:
                where = f"data_url: {table.name}, line {reader.line_num}"
                picture = _picture(row["path"], table.parent, where)
                if picture in folders:
                    raise UserError(f"{where} names {shown(row['path'])} again; remove one")
                folders[picture] = _folder(row, where)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"data_url: {table.name}: expected a CSV file in UTF-8; {one_line(error)}"
        ) from None
    if not folders:
        raise UserError(f"data_url: {table.name} has a header only; expected a row a picture")
    top = os.path.commonpath([picture.parent for picture in folders])
    names = {path: f"{folder}/{path.relative_to(top)}" for path, folder in folders.items()}
    if hidden := [path for path, name in names.items() if is_hidden(PurePath(name))]:
        raise UserError(
            f"data_url: {table.name} names {shown(str(hidden[0]))}, where a hidden file or folder "
            "is below the others' folder; rename it"
        )
    return list(names.items())


def _picture(path: str | None, folder: Path, where: str) -> Path:
    picture = Path(os.path.abspath(folder / os.path.expanduser(path or "")))
    if picture.suffix.lower() not in SUFFIXES or not picture.is_file():
        raise UserError(
            f"{where}: expected the path of a picture ({' '.join(sorted(SUFFIXES))}), absolute or "
            f"from {folder}; received {shown(path)}, which is none or not there"
        )
    return picture


def _folder(row: dict, where: str) -> str:
    """Return the class folder of a row, below that of its split if there are such."""
    label, split = row["label"] or "", row.get("split")
    if not label or not is_plain(label) or set(label) & set("/\\") or label[0] == ".":
        raise UserError(
            f"{where}: expected a label that can name a folder, without slashes and not beginning "
            f"with a dot; received {shown(label)}"
        )
    if "split" not in row:
        if label.lower() in FOLDER_NAMES:
            raise UserError(
                f"{where}: the label {shown(label)} is the name of a split; give it another, or "
                "the table a column split"
            )
        return label
    if (split or "").lower() not in FOLDER_NAMES:
        raise UserError(
            f"{where}: expected the split to be train, validation or test; received {shown(split)}"
        )
    return f"{FOLDER_NAMES[split.lower()]}/{label}"
