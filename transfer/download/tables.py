"""Read a table of paths and labels, which takes the place of class folders."""

import csv
import math
import os
from functools import partial
from pathlib import Path, PurePath
from typing import NamedTuple

from transfer.core.errors import UserError, one_line, shown
from transfer.core.files import is_plain
from transfer.data.find import LeftOut, find_images, is_hidden, is_image_file, open_file
from transfer.data.formats import FORMATS
from transfer.data.labels import NO_CLASS, check_class_names, class_named, split_named
from transfer.download.archives import copy_images

SUFFIX = ".csv"
IN_FOLDER = "labels.csv"  # the table of a folder
NEEDED = {"path", "label"}


class Row(NamedTuple):
    """A row of a table.

    image: The absolute path of the image.
    name: Of the image, below class folders.
    group: Its name, or empty.
    """

    image: Path
    name: str
    group: str


def find_table(source: Path) -> Path | None:
    """Return the table that a source is, or that a folder has in labels.csv; None for others."""
    if source.suffix.lower() == SUFFIX and not source.is_dir():
        return source
    table = source / IN_FOLDER
    if not table.is_file():
        return None
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        header = next(csv.reader(file, skipinitialspace=True), [])
    return table if {*header} >= NEEDED else None


def copy_table(source: Path, table: Path, target: Path, left_out: LeftOut) -> dict[str, str]:
    """Copy the images that a table lists to `target`: label/image, or split/label/image.

    Args:
        source: The table, or the folder that it is in.
        table: A CSV file, as for `read_table`.
        target: An empty folder.
        left_out: Where to add what a folder has besides.

    Returns:
        The names of groups by the names of images.

    Raises:
        UserError: As in `read_table`.
    """
    rows = read_table(table)
    if source.is_dir():
        listed = {row.image for row in rows}
        names, others = find_images(source)
        left_out.hidden |= others.hidden
        left_out.rejected += [row for row in others.rejected if row.path != IN_FOLDER]
        for name in names:
            if Path(os.path.abspath(source / name)) not in listed:
                left_out.add(name, f"not in {IN_FOLDER}", NO_CLASS)
    members = ((row.name, partial(open_file, row.image)) for row in rows)
    copy_images(members, target, math.inf, LeftOut())  # each row is an image
    return {row.name: row.group for row in rows if row.group}


def read_table(table: Path) -> list[Row]:
    """Read a CSV file with the columns `path` and `label`, and perhaps `split` and `group`.

    Raises:
        UserError: The file is no such table or has no rows; or a row has a path that is not an
            image's or occurs twice, or a label or a split that is not allowed.
    """
    folders, groups = {}, {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            columns = reader.fieldnames or []
            if not set(columns) >= NEEDED:
                raise UserError(
                    f"data_url: {table.name}: expected a header with the columns path and label, "
                    f"separated by commas, and perhaps split and group; received {shown(columns)}"
                )
            for row in reader:
                where = f"data_url: {table.name}, line {reader.line_num}"
                image = _image(row["path"], table.parent, where)
                if image in folders:
                    raise UserError(f"{where} lists {shown(row['path'])} again; remove one")
                folders[image] = _folder(row, where)
                groups[image] = _group(row, where)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"data_url: {table.name}: expected a CSV file in UTF-8: {one_line(error)}; save it so"
        ) from None
    if not folders:
        raise UserError(f"data_url: {table.name} has only a header; expected one row per image")
    labels = {folder.split("/")[-1] for folder in folders.values()}
    check_class_names(labels)
    if "split" not in columns and all(map(split_named, labels)):
        raise UserError(
            f"data_url: {table.name}: the labels {', '.join(sorted(labels)[:5])} are names of "
            "splits; rename one, or add a column split"
        )
    top = os.path.commonpath([image.parent for image in folders])
    names = {path: f"{folder}/{path.relative_to(top)}" for path, folder in folders.items()}
    if hidden := [path for path, name in names.items() if is_hidden(PurePath(name))]:
        raise UserError(
            f"data_url: {table.name} lists {shown(str(hidden[0]))}, which is hidden or in a hidden "
            "folder; rename it"
        )
    return [Row(path, name, groups[path]) for path, name in names.items()]


def _image(path: str | None, folder: Path, where: str) -> Path:
    """Return the absolute path of the image in a row, whose path may be relative to `folder`."""
    for written in (path or "", (path or "").replace("\\", "/")):  # as Windows writes it
        image = Path(os.path.abspath(folder / os.path.expanduser(written)))
        if is_image_file(image):
            return image
    raise UserError(
        f"{where}: expected the path of an image ({', '.join(FORMATS)}), absolute or relative to "
        f"{folder}; received {shown(path)}, which does not exist or is not an image"
    )


def _folder(row: dict, where: str) -> str:
    """Return the class folder of a row, below the folder of its split if the table gives splits."""
    label, split = class_named(row["label"] or ""), row.get("split")
    if not label or not is_plain(label) or set(label) & set("/\\") or label[0] == ".":
        raise UserError(
            f"{where}: expected a label that can name a folder, without slashes and without a dot "
            f"at the start; received {shown(row['label'] or '')}"
        )
    if "split" not in row:
        return label
    if not (split_name := split_named(split or "")):
        raise UserError(
            f"{where}: expected the split train, validation or test; received {shown(split)}"
        )
    return f"{split_name}/{label}"


def _group(row: dict, where: str) -> str:
    """Return the name of a row's group, or empty."""
    group = (row.get("group") or "").strip()
    if not is_plain(group):
        raise UserError(f"{where}: expected a group's name in one line; received {shown(group)}")
    return group
