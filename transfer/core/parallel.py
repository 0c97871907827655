"""Work that is distributed over the CPU's cores."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item, Result = TypeVar("Item"), TypeVar("Result")
AT_A_TIME = 256  # for small results, such as hashes


def count_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


CORES = count_cores()


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], at_a_time: int
) -> Iterator[Result]:
    """Yield the results of a function for some items, in their order.

    Args:
        function: Called in as many threads as there are cores.
        items: Its arguments; may be generated while the work goes on.
        at_a_time: How many results may be in memory at most.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(CORES) as pool:
        while chunk := list(islice(iterator, at_a_time)):
            yield from pool.map(function, chunk)
