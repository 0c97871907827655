"""Work shared out among the cores."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

CORES = len(os.sched_getaffinity(0))
AT_A_TIME = 256  # small results, such as hashes


def map_in_threads(function: Callable, items: Iterable, at_a_time: int) -> Iterator:
    """Yield `function` of each item, in order; never more than `at_a_time` wait to be read."""
    iterator = iter(items)
    with ThreadPoolExecutor(CORES) as pool:
        while chunk := list(islice(iterator, at_a_time)):
            yield from pool.map(function, chunk)
