"""Read mutated pictures: each must be read or rejected, soon, in little memory and in silence.

    python -m tests.faults.images [--short]

Worker processes mutate and read, so that a crash, a hang or too much memory ends them alone; the
next one goes on behind the file that did it. File k is the same in every run.
"""

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.faults.corpus import PNG, bombs, decode, pictures, png_chunk
from tests.faults.table import record
from transfer.preprocessing.decoding import decode_image

FILES, FILES_SHORT = 108_000, 2_700
BATCH = 100  # after so many files, the last of them again, through decode_images
SECONDS = 20  # a file; the largest picture allowed takes 5 on a quiet machine
MEMORY = 2 << 30
# Where a chunk of a PNG says 4 GB, Pillow asks for them, but fills only what is there.
ADDRESSES = 16 << 30
SIZE = 32
TOKENS = (
    *(b"\xff\xd8", b"\xff\xd9", b"\xff\xda", b"\xff\xc0", b"\xff\xc2", b"\xff\xc4", b"\xff\xdd"),
    *(b"\xff\xe1", b"Exif\0\0", b"MPF\0", b"ICC_PROFILE\0", b"Adobe\0", b"IHDR", b"PLTE", b"tRNS"),
    *(b"IDAT", b"acTL", b"fcTL", b"fdAT", b"iCCP", b"zTXt", b"eXIf", b"RIFF", b"WEBP", b"VP8X"),
    *(b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"GIF89a", b"\x21\xf9\x04", b"\x2c", b"BM"),
    *(b"II*\0", b"MM\0*", b"II+\0", b"\x01\x01\x03\0", b"\x11\x01\x04\0", b"\x03\x01\x03\0"),
)
NUMBERS = (0, 1, 2, 7, 0x7F, 0xFF, 0x100, 0x7FFF, 0xFFFF, 9_999, 0x7FFF_FFFF, 0xFFFF_FFFF)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help=f"{FILES_SHORT} files")
    parser.add_argument("--worker", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(*arguments.worker)
        return
    files = FILES_SHORT if arguments.short else FILES
    outcomes = run(files)
    for name in sorted({name for name, _ in outcomes}):
        print(name, {what: n for (of, what), n in sorted(outcomes.items()) if of == name})
    expected = f"read, or rejected in one line; {SECONDS} s, {MEMORY >> 30} GB"
    rows = [
        (f"mutated {form}", *counted(outcomes, form), expected)
        for form in ("jpg", "png", "bmp", "gif", "webp", "tif")
    ]
    rows.append(("bomb", *counted(outcomes, "bomb"), "rejected in one line"))
    rows.append(("100 mutated files at once", *counted(outcomes, "batch"), "the same, in silence"))
    record("images", [(fault, n, said, otherwise) for fault, n, otherwise, said in rows])


def counted(outcomes: Counter, name: str) -> tuple[int, int]:
    """Return how many there were, and how many of them came otherwise than they should."""
    good = {"bomb": ["rejected"], "batch": ["same"]}.get(name, ["read", "rejected"])
    total = sum(n for (of, _), n in outcomes.items() if of == name)
    return total, total - sum(outcomes[name, what] for what in good)


def run(files: int) -> Counter:
    """Let workers read; count what came of each kind of file."""
    todo = list(tasks(files))
    outcomes = Counter()
    done, slowest, largest = 0, 0.0, 0
    while done < len(todo):
        with tempfile.TemporaryFile("w+") as log:
            worker = subprocess.run(
                [sys.executable, "-m", "tests.faults.images", "--worker", str(done), str(files)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            log.seek(0)
            said = log.read()[-300:]
        lines = [line.split(" ", 2) for line in worker.stdout.splitlines()]
        results = [result for _, _, result in lines]
        slowest = max([slowest, *(float(seconds) for seconds, _, _ in lines)])
        largest = max([largest, *(int(memory) for _, memory, _ in lines)])
        if done + len(results) < len(todo):
            hung = worker.returncode == -signal.SIGALRM
            results.append("hung" if hung else f"crashed ({worker.returncode})")
            print(f"file {done + len(results) - 1}: {results[-1]}: {said}", flush=True)
        outcomes.update((name, what) for (name, _), what in zip(todo[done:], results, strict=False))
        done += len(results)
    print(f"the slowest took {slowest:.1f} s, the largest {largest >> 20:,} MB")
    return outcomes


def tasks(files: int) -> Iterator[tuple[str, int]]:
    """Yield kind and number: files of each format in turn, batches between them, then bombs."""
    names = list(pictures())
    for k in range(files):
        yield names[k % len(names)].rpartition(".")[2], k
        if k % BATCH == BATCH - 1:
            yield "batch", k
    for k in range(len(bombs())):
        yield "bomb", k


def work(start: int, files: int) -> None:
    """Read from task `start` on; print a line of each, and die of what takes too long."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, k in list(tasks(files))[start:]:
            started = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, SECONDS * (BATCH if kind == "batch" else 1))
            if kind == "batch":
                result = try_batch(folder, range(k + 1 - BATCH, k + 1))
            else:
                data = list(bombs().values())[k] if kind == "bomb" else mutated(k)
                result = try_decode(folder / "picture", data)
            print(f"{time.monotonic() - started:.2f}", peak(), result, flush=True)


def try_decode(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    before = peak()
    result = "read"
    try:
        decode_image(path, SIZE, crop_to_aspect_ratio=False)
    except MemoryError:
        result = "over memory"
    except Exception:
        result = "rejected"
    return "over memory" if peak() > max(before, MEMORY) else result


def peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def try_batch(folder: Path, numbers: range) -> str:
    """Tell whether decode_images does as decode_image does, and says nothing on stderr."""
    paths = [folder / f"{k} of\nmany" for k in numbers]
    expected = []
    for path, k in zip(paths, numbers, strict=True):
        path.write_bytes(mutated(k))
        try:
            expected.append(decode_image(path, SIZE, crop_to_aspect_ratio=False))
        except Exception:
            expected.append((None, str))
    before = os.fstat(2).st_size
    results = decode(folder / "images.npy", paths, SIZE, crop_to_aspect_ratio=False)
    if os.fstat(2).st_size > before:
        return "noisy"
    for (_, size), result in zip(expected, results, strict=True):
        if result != size and not (size is str and type(result) is str and result.isprintable()):
            return f"different: {result!r}, not {size}"
    rows = [pixels for pixels, _ in expected if pixels is not None]
    same = np.array_equal(np.load(folder / "images.npy"), np.array(rows).reshape(-1, SIZE, SIZE, 3))
    return "same" if same else "different pixels"


def mutated(k: int) -> bytes:
    """Return file k: one of the corpus, changed in one or two ways."""
    rng = np.random.default_rng(k)
    corpus = list(pictures().values())
    data = bytearray(corpus[k % len(corpus)])
    for _ in range(rng.integers(1, 3)):
        change(rng, data, corpus)
    # Behind a wrong checksum nothing is read.
    return with_checksums(bytes(data)) if rng.random() < 0.75 else bytes(data)


def change(rng: np.random.Generator, data: bytearray, corpus: list[bytes]) -> None:
    """Change a file in one way; half of the places are in its first 200 bytes."""
    place = int(rng.integers(max(1, len(data) if rng.random() < 0.5 else min(200, len(data)))))
    length = 1 << int(rng.integers(7))
    match rng.integers(7):
        case 0:
            for spot in rng.integers(max(1, len(data)), size=length):
                data[spot : spot + 1] = bytes([data[spot] ^ 1 << rng.integers(8)] if data else [])
        case 1:
            width, order = int(rng.choice([1, 2, 4])), rng.choice(["big", "little"])
            number = int(rng.choice(NUMBERS)) & (1 << 8 * width) - 1
            data[place : place + width] = number.to_bytes(width, order)
        case 2:
            del data[place + len(data) // 4 :]
        case 3:
            del data[place : place + length]
        case 4:
            data[place:place] = data[place : place + length] * int(rng.integers(1, 50))
        case 5:
            other = corpus[rng.integers(len(corpus))]
            start = int(rng.integers(len(other)))
            data[place : place + length] = other[start : start + length]
        case 6:
            token = TOKENS[rng.integers(len(TOKENS))]
            data[place : place + len(token) * int(rng.integers(2))] = token


def with_checksums(data: bytes) -> bytes:
    """Return a PNG with the right checksum of each chunk; others stay."""
    if not data.startswith(PNG):
        return data
    place, chunks = len(PNG), [PNG]
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        kind, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        chunks.append(png_chunk(kind, content) if len(content) == length else data[place:])
        place += 12 + length
    return b"".join(chunks)


if __name__ == "__main__":
    main()
