"""Follow the links inside an archive, as far as they stay in it."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from itertools import islice, takewhile
from posixpath import dirname, join, normpath
from typing import BinaryIO

from transfer.data.find import Member

MAX_HOPS = 40  # as many as Linux follows
OUT, NOTHING, CIRCLE = (
    *("a link that leads out of the archive", "a link to nothing in the archive"),
    *("a link that leads in a circle",),
)


def followed(
    files: Mapping[str, Callable[[], BinaryIO]], links: Mapping[str, str]
) -> Iterator[Member]:
    """Yield a file for each link to a file, and one for each file in a folder that is linked to.

    Args:
        files: What opens each file of the archive, by its name.
        links: What each link leads to, seen from the top of the archive, by the link's name.
    """
    if not links:
        return
    files = {normpath(name): open_member for name, open_member in files.items()}
    targets = {normpath(name): target for name, target in links.items()}
    keys = sorted({*files, *targets})
    for name in links:
        yield from _follow(name, normpath(name), files, targets, keys, ())


def _follow(
    name: str, link: str, files: Mapping, links: Mapping, keys: list[str], above: tuple
) -> Iterator[Member]:
    """Yield what a link leads to.

    Args:
        name: Under which the link is met, which may be inside of a folder that is linked to.
        link: Its own name.
        files: As in `followed`, with normal names.
        links: As in `followed`, with normal names.
        keys: The names of all files and links, sorted.
        above: The folders that are linked to on the way to it.
    """
    target = _resolve(link, links)
    if target in files:
        yield name, files[target]
        return
    if target in (OUT, CIRCLE):
        yield name, target
        return
    prefix = "" if target == "." else f"{target}/"
    rest = islice(keys, bisect_left(keys, prefix), None)
    inside = list(takewhile(lambda key: key.startswith(prefix), rest))
    if not inside:
        yield name, NOTHING
    elif target in above or link.startswith(prefix):
        yield name, CIRCLE
    else:
        for key in inside:
            inner = f"{name}/{key[len(prefix) :]}"
            if key in links:
                yield from _follow(inner, key, files, links, keys, (*above, target))
            else:
                yield inner, files[key]


def _resolve(path: str, links: Mapping[str, str]) -> str:
    """Return what is at the end of all links on a path, or why there is nothing."""
    for _ in range(MAX_HOPS):
        parts = path.split("/")
        heads = ("/".join(parts[: i + 1]) for i in range(len(parts)))
        head = next((head for head in heads if head in links), None)
        if head is None:
            return path
        path = normpath(join(links[head], path[len(head) + 1 :]))
        if path[0] == "/" or path.split("/")[0] == "..":
            return OUT
    return CIRCLE


def link_target(name: str, target: str) -> str:
    """Return what a symbolic link of that name leads to, seen from the top of the archive."""
    return join(dirname(name), target)
