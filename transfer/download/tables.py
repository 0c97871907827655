"""Read a table of paths and labels, which takes the place of class folders."""

import csv
import math
import os
from functools import partial
from pathlib import Path, PurePath

from transfer.core.errors import UserError, one_line, shown
from transfer.core.files import is_plain
from transfer.data.find import LeftOut, is_hidden, is_image_file, open_file
from transfer.data.formats import FORMATS
from transfer.data.labels import check_class_names, class_named, split_named
from transfer.download.archives import copy_images

SUFFIX = ".csv"


def copy_table(table: Path, target: Path) -> None:
    """Copy the images that a table lists to `target`: label/image, or split/label/image.

    Args:
        table: A CSV file, as for `read_table`.
        target: An empty folder.

    Raises:
        UserError: As in `read_table`.
    """
    members = ((name, partial(open_file, path)) for path, name in read_table(table))
    copy_images(members, target, math.inf, LeftOut())  # each row is an image


def read_table(table: Path) -> list[tuple[Path, str]]:
    """Read a CSV file with the columns `path` and `label`, and perhaps `split`.

    Returns:
        For each row the absolute path of the image, and its name below class folders.

    Raises:
        UserError: The file is no such table or has no rows; or a row has a path that is not an
            image's or occurs twice, or a label or a split that is not allowed.
    """
    folders = {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            columns = reader.fieldnames or []
            if not {"path", "label"} <= set(columns):
                raise UserError(
                    f"data_url: {table.name}: expected a header with the columns path and label, "
                    f"separated by commas, and split if it gives splits; received {shown(columns)}"
                )
            for row in reader:
                where = f"data_url: {table.name}, line {reader.line_num}"
                image = _image(row["path"], table.parent, where)
                if image in folders:
                    raise UserError(f"{where} lists {shown(row['path'])} again; remove one")
                folders[image] = _folder(row, where)
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
    return list(names.items())


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
