"""See how the folders of a data set are meant, and where its images belong."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from transfer.core.errors import UserError, printable
from transfer.data.formats import FORMATS
from transfer.data.labels import class_named, says_nothing, split_named

NO_FOLDER = "no folder above it names its class"
WAY_ON = (
    "call the folders of splits train, validation and test, move others away, or give a table with "
    "the columns path, label and split (docs/own_images.md)"
)
Parts = tuple[str, ...]  # of a path, split at the slashes
Image = tuple[Parts, str]  # the path as it is seen through, and the whole path


@dataclass
class Layout:
    """Where images belong, by their paths.

    places: The new path, below class folders or below split and class folders.
    no_class: Why an image has no class.
    copies: The path of the original, for an image in a copy of the whole.
    """

    places: dict[str, str] = field(default_factory=dict)
    no_class: dict[str, str] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)


def arrange(names: Sequence[str]) -> Layout:
    """Find the class folders, and the splits above or below them.

    Folders around the whole are seen through, and so is the only folder in a split's folder if it
    names the same split, or nothing, as `images` does. A copy of the whole inside it is left out.

    Args:
        names: Paths of the images, with slashes.

    Raises:
        UserError: There are fewer than two folders, or it is not clear what they mean.
    """
    layout = Layout()
    images = _unwrap([(tuple(name.split("/")), name) for name in names], layout)
    images = _without_copies(images, layout)
    tops = {path[0] for path, _ in images if len(path) > 1}
    if len(tops) < 2:
        raise UserError(
            "data_url: expected one folder per class, such as cats/ and dogs/, with images "
            f"({', '.join(FORMATS)}); received {len(names)} images and {len(tops)} such folders"
        )
    images = _through_repeats(images)
    place = _reading(sorted(tops), images)
    for path, name in images:
        where = place(path)
        if isinstance(where, str):
            layout.no_class[name] = where
        else:
            layout.places[name] = "/".join(where)
    return layout


def _unwrap(images: list[Image], layout: Layout) -> list[Image]:
    """See through folders that hold all others; images beside them have no class."""
    while len({path[0] for path, _ in images if len(path) > 1}) == 1:
        layout.no_class |= {name: NO_FOLDER for path, name in images if len(path) == 1}
        images = [(path[1:], name) for path, name in images if len(path) > 1]
    return images


def _without_copies(images: list[Image], layout: Layout) -> list[Image]:
    """Leave out a folder whose content is also around it, folder by folder and name by name."""
    name_of, inside = dict(images), defaultdict(set)
    for path, _ in images:
        inside[path[0]].add(path[1:])
    copies = {
        top
        for top, paths in inside.items()
        if all(len(path) > 1 and path in name_of for path in paths)
    }
    layout.copies |= {name: name_of[path[1:]] for path, name in images if path[0] in copies}
    return [image for image in images if image[0][0] not in copies]


def _inner(images: Iterable[Image]) -> dict[str, set[str]]:
    """Return the names of the folders directly inside each of the first folders."""
    inner = defaultdict(set)
    for path, _ in images:
        if len(path) > 2:
            inner[path[0]].add(path[1])
    return inner


def _through_repeats(images: list[Image]) -> list[Image]:
    """See through the only folder in a split's folder: one of the same split, or `images`."""

    def is_repeated(top: str, inner: set[str]) -> bool:
        split = split_named(top)
        return (
            split is not None
            and len(inner) == 1
            and (split_named(*inner) == split or says_nothing(*inner))
        )

    while repeated := {top for top, inner in _inner(images).items() if is_repeated(top, inner)}:
        images = [
            ((path[0], *path[2:]) if path[0] in repeated and len(path) > 2 else path, name)
            for path, name in images
        ]
    return images


def _reading(tops: list[str], images: list[Image]) -> Callable[[Parts], Parts | str]:
    """Return a function from a path to where it belongs, or why it has no class.

    Args:
        tops: The first folders, two or more.
        images: The images.

    Raises:
        UserError: It is not clear what the folders mean.
    """
    inner = _inner(images)
    splits = {top: split for top in tops if (split := split_named(top))}
    # Images right in a folder called train, beside two or more other folders, show trains.
    lone = next(iter(splits)) if len(splits) == 1 and len(tops) > 2 else ""
    if not splits or (lone.lower() == "train" and not inner[lone]):
        if _splits_below(tops, inner, images):
            return lambda path: (path[1], path[0], *path[2:]) if len(path) > 2 else NO_FOLDER
        _check_same_folders(inner)
        return lambda path: path if len(path) > 1 else NO_FOLDER

    classes = {class_named(name) for top in splits if splits[top] == "train" for name in inner[top]}
    others = [top for top in tops if top not in splits]
    if not classes or (others and len({*splits.values()}) == 1):
        raise UserError(
            "data_url: expected one folder per class, or train/ with validation/ or test/ beside "
            f"it and the classes inside; received {_listed(tops)}; {WAY_ON}"
        )
    shared = {top: {*map(class_named, inner[top])} & classes for top in tops}
    if unknown := [top for top in others if shared[top]]:
        raise UserError(
            f"data_url: {_listed(unknown)} is beside folders of splits and holds folders of "
            f"classes ({_listed(shared[unknown[0]])}), but has no name of a split; {WAY_ON}"
        )
    # One folder of another name in test/ is no class: the images in it are not labelled.
    labelled = {top for top in splits if shared[top] or len(inner[top]) > 1}
    return lambda path: path if path[0] in labelled and len(path) > 2 else NO_FOLDER


def _splits_below(tops: list[str], inner: dict[str, set[str]], images: list[Image]) -> bool:
    """Return whether splits are below the class folders, as in cats/train/ and cats/test/.

    Raises:
        UserError: They are below some of the folders only, or have folders below.
    """
    splits = {top: {split_named(name) for name in inner[top]} for top in tops}
    if all(len(found - {None}) < 2 for found in splits.values()):
        return False
    other = [top for top in tops if not splits[top] or None in splits[top]]
    deeper = _inner((path[1:], name) for path, name in images if len(path) > 1)
    deeper = [name for name, folders in deeper.items() if len(folders) > 1]
    if other or deeper:
        raise UserError(
            f"data_url: folders of splits are inside of {_listed(set(tops) - set(other))}, and "
            + (f"{_listed(other)} has others" if other else f"{_listed(deeper)} has folders inside")
            + f", so it is not clear which are the classes; {WAY_ON}"
        )
    return True


def _check_same_folders(inner: dict[str, set[str]]) -> None:
    """Refuse folders that hold the same folders: either could be the classes.

    Raises:
        UserError: Two of them have two or more folders in common with others.
    """
    counts = Counter(name for names in inner.values() for name in names)
    common = {top: {n for n in names if counts[n] > 1} for top, names in inner.items()}
    if same := [top for top, names in common.items() if len(names) > 1]:
        raise UserError(
            f"data_url: {_listed(same)} hold folders of the same names "
            f"({_listed(common[same[0]])}), so it is not clear which are the classes; put the "
            f"images of a class right into its folder, or {WAY_ON}"
        )


def _listed(names: Iterable[str]) -> str:
    """Return up to five names for a message."""
    names = sorted(names)
    return printable(", ".join(names[:5])) + (", …" if len(names) > 5 else "")
