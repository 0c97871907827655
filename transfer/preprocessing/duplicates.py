"""Find images in two splits that look the same, though their bytes differ."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from PIL import Image
from scipy.fft import dctn

from transfer.core.parallel import AT_A_TIME, map_in_threads
from transfer.data.shards import StoredImages

# Of 64 bits. Of the tutorial's 3,000 images, 4.5 million pairs, one pair differs in 0 to 9 bits
# and shows the same; those that differ in 10 or more bits do not.
MAX_DISTANCE = 4
MAX_PAIRS = 100_000  # so that a folder of blank pages ends; who has fixed so many can run it again
LOW = 8  # lowest frequencies each way, one bit for each pair of them
SIDE = 32  # of the grey image that the frequencies are taken from, in pixels


def perceptual_hashes(images: StoredImages) -> np.ndarray:
    """Return the perceptual hashes, uint64 [N], of images, uint8 [N, H, W, 3].

    A bit for each of the lowest frequencies tells whether it is above their median. The losses of
    JPEG, a resize, the loss of colour or slightly more light change few of these bits.
    """
    hashes = map_in_threads(
        lambda row: perceptual_hash(images[[row]][0]), range(len(images)), AT_A_TIME
    )
    return np.fromiter(hashes, np.uint64, len(images))


def perceptual_hash(pixels: np.ndarray) -> np.uint64:
    """Return the perceptual hash of one image, uint8 [H, W, 3]."""
    grey = Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    # Rounded, so that the last bits of a machine don't decide what is equal, as in a blank image.
    low = np.rint(dctn(np.asarray(grey, float))[:LOW, :LOW])
    return np.packbits(low > np.median(low)).view(np.uint64)[0]


def near_duplicates(
    hashes: np.ndarray, splits: Sequence[str] | np.ndarray
) -> list[tuple[int, int, int]]:
    """Find the pairs of images in two splits whose hashes differ in at most MAX_DISTANCE bits.

    The bits are cut into MAX_DISTANCE + 2 bands, of which at least two are equal in such a pair. So
    only images that agree in two bands, 20 bits or more, are compared; even among millions, few
    others do.

    Args:
        hashes: Perceptual hashes, uint64 [N].
        splits: The split of each image: N names, or integers [N].

    Returns:
        Two indices and the distance of each pair, nearest first; at most MAX_PAIRS.
    """
    splits, found = np.asarray(splits), set()
    for bands in combinations(np.array_split(np.arange(64, dtype=np.uint64), MAX_DISTANCE + 2), 2):
        values = hashes & np.bitwise_or.reduce(np.uint64(1) << np.concatenate(bands))
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        left, step = np.arange(len(order)), 1
        # Each step compares every image with the one `step` further on, while the bands are equal.
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
