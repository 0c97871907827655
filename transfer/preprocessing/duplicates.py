"""Images that look the same in two splits, though their bytes differ."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from PIL import Image
from scipy.fft import dctn

from transfer.core.parallel import AT_A_TIME, map_in_threads
from transfer.data.dataset import StoredArray

# Of 64 bits. Of the tutorial's 3,000 pictures, 4.5 million pairs, one pair differs in 0 to 9 bits
# and is the same picture; those that differ in 10 or more are not.
MAX_DISTANCE = 4
MAX_PAIRS = 100_000  # so that a folder of blank pages ends; whoever mends 100,000 runs it again
LOW = 8  # so many of the lowest frequencies each way
SIDE = 32  # of the picture that they are taken from


def perceptual_hashes(images: StoredArray) -> np.ndarray:
    """Return what pictures look like, uint64 [N], for images uint8 [N, H, W, 3].

    A bit for each of the lowest frequencies: is it above the median of them all? JPEG's losses, a
    resize, greyness or a little more light change few of these bits.
    """
    rows = map_in_threads(
        lambda row: perceptual_hash(images[[row]][0]), range(len(images)), AT_A_TIME
    )
    return np.fromiter(rows, np.uint64, len(images))


def perceptual_hash(pixels: np.ndarray) -> np.uint64:
    """Return the hash of one picture, uint8 [H, W, 3]."""
    grey = Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    # Rounded, so that no machine's last bits decide about what is equal, as in a blank picture.
    low = np.rint(dctn(np.asarray(grey, float))[:LOW, :LOW])
    return np.packbits(low > np.median(low)).view(np.uint64)[0]


def near_duplicates(hashes: np.ndarray, splits: Sequence[str]) -> list[tuple[int, int, int]]:
    """Find the pairs of pictures in two splits whose hashes differ in at most MAX_DISTANCE bits.

    Of as many bands of bits and two more, two are equal in such a pair: only pictures that agree in
    two bands, 20 bits or more, are compared. Few others do, among millions too.

    Args:
        hashes: uint64 [N].
        splits: N names.

    Returns:
        Two indices and the distance of each, the nearest first; no more than MAX_PAIRS.
    """
    splits, found = np.asarray(splits), set()
    for bands in combinations(np.array_split(np.arange(64, dtype=np.uint64), MAX_DISTANCE + 2), 2):
        values = hashes & np.bitwise_or.reduce(np.uint64(1) << np.concatenate(bands))
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        left, step = np.arange(len(order)), 1
        # Each step compares all with those so many places on, as long as the bands are the same.
        while len(left := left[left < len(order) - step]) and len(found) < MAX_PAIRS:
            left = left[ordered[left] == ordered[left + step]]
            a, b = order[left], order[left + step]
            distance = np.bitwise_count(hashes[a] ^ hashes[b])
            near = (distance <= MAX_DISTANCE) & (splits[a] != splits[b])
            found |= {
                *zip(distance[near].tolist(), a[near].tolist(), b[near].tolist(), strict=True)
            }
            step += 1
    return [(a, b, distance) for distance, a, b in sorted(found)[:MAX_PAIRS]]
