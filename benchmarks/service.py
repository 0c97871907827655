"""Measure the service under load, against the same work without HTTP.

python -m benchmarks.service [--images FOLDER] [--requests 10000]

It needs exports/model.onnx. Clients and server share the cores. Each client sends one photo at a
time and waits for its answer. `forward` is the model alone, on pixels that are decoded already;
`decode + forward` decodes the same files, in one process and as many threads as there are cores.
"""

import argparse
import asyncio
import contextlib
import io
import itertools
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import NamedTuple

import numpy as np
import psutil
from PIL import Image

from benchmarks.common import RESULTS, made_by, replace_between, table
from scripts.project import PROJECT
from transfer.core.files import RAW
from transfer.core.parallel import CORES, map_in_threads
from transfer.data.find import find_images
from transfer.serving.batching import BATCH_SIZE
from transfer.serving.engine import Engine, load_engine
from transfer.serving.neighbours import evenly_spaced

EXPORT, PAGE = PROJECT / "exports/model.onnx", PROJECT / "docs/serving.md"
MARK, END = "<!-- python -m benchmarks.service writes from here -->\n", "<!-- to here -->\n"
PHOTOS, CLIENTS, SECONDS = 200, (1, 8, 64), 15
HEADER = ["photos", "clients", "images/s", "of forward", "of decode + forward"]
HEADER += ["p50", "p95", "p99 [ms]"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--export", type=Path, default=EXPORT)
    parser.add_argument("--images", type=Path, default=RAW)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    arguments = parser.parse_args()
    engine = load_engine(arguments.export)
    names, _ = find_images(arguments.images)
    chosen = [names[index] for index in evenly_spaced(len(names), PHOTOS)]
    photos = [(arguments.images / name).read_bytes() for name in chosen]
    result, rows = made_by() | {"alone": {}}, []
    with serving(arguments.export) as (address, _, started):
        result |= started
        for name, files in {"as they are": photos, "small": shrink(engine, photos)}.items():
            alone = measure_alone(engine, files, arguments.seconds)
            result["alone"][name], result[name] = alone, {}
            for clients in CLIENTS:
                measured = measure_load(address, files, clients, arguments.seconds)
                result[name][clients] = measured
                speed = measured["images_per_second"]
                ratios = [f"{speed / rate:.0%}" for rate in alone.values()]
                times = [f"{measured[part]:.0f}" for part in ("p50", "p95", "p99")]
                rows.append([name, clients, f"{speed:.0f}", *ratios, *times])
    result["mixed"] = measure_mixed(arguments.export, photos, arguments.requests)
    result["stop"] = measure_stop(arguments.export, photos)
    RESULTS.with_name("service.json").write_text(json.dumps(result, indent=2) + "\n")
    text = f"{table(HEADER, rows)}\n\n{in_words(result)}"
    print(text)
    if PAGE.exists():
        replace_between(PAGE, MARK, END, text)


def shrink(engine: Engine, photos: list[bytes]) -> list[bytes]:
    """Return the photos as JPEGs of the size that the model takes."""
    files = []
    for photo in photos:
        file = io.BytesIO()
        Image.fromarray(engine.decode(io.BytesIO(photo))).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def measure_alone(engine: Engine, files: list[bytes], seconds: float) -> dict[str, float]:
    """Return the images a second of the model alone, and of decoding and the model."""

    def decode(batch: list[bytes]) -> np.ndarray:
        return np.stack([engine.decode(io.BytesIO(file)) for file in batch])

    batches = [files[i : i + BATCH_SIZE] for i in range(0, len(files), BATCH_SIZE)]
    decoded = [decode(batch) for batch in batches]
    return {
        "forward": rate(engine.predict, decoded, seconds),
        "decode + forward": rate(lambda batch: engine.predict(decode(batch)), batches, seconds),
    }


def rate(function: Callable, batches: list, seconds: float) -> float:
    """Return how many images a second a function does on all cores."""
    started = time.perf_counter()
    numbers = (number % len(batches) for number in for_seconds(seconds))
    results = map_in_threads(lambda number: function(batches[number]), numbers, 16 * CORES)
    images = sum(map(len, results))
    return images / (time.perf_counter() - started)


@contextmanager
def serving(export: Path) -> Iterator[tuple[tuple[str, int], psutil.Process, dict]]:
    """Serve an export; yield the address, the process, and how it started."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "service", "--model", export.resolve(), "--port", "0"]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline().rpartition(":")[2])
        address = "127.0.0.1", port
        load(address, [request(b"", "GET /health")], [0], clients=1)
        server = psutil.Process(process.pid)
        seconds = time.perf_counter() - started
        yield address, server, {"start_seconds": seconds, "start_mb": megabytes(server)}
    finally:
        process.terminate()
        process.wait()


def megabytes(process: psutil.Process) -> float:
    """Return the resident memory of a process."""
    return process.memory_info().rss / 1e6


def request(body: bytes, line: str = "POST /predict") -> bytes:
    """Return the bytes of an HTTP request."""
    return f"{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Answer(NamedTuple):
    """What came for a request: its number, the status (0: no answer), and the time it took."""

    number: int
    status: int
    seconds: float


def load(
    address: tuple[str, int], requests: list[bytes], numbers: Iterable[int], clients: int
) -> list[Answer]:
    """Send requests in turn, each client its next one when the last is answered.

    numbers: of the requests to send; they start anew where there are more than requests.
    """
    shared, answers = iter(numbers), []

    async def work() -> None:
        reader, writer = await asyncio.open_connection(*address)
        for number in shared:
            started, status, is_last = time.perf_counter(), 0, True
            writer.write(requests[number % len(requests)])
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                status, is_last = await read_answer(reader)
            answers.append(Answer(number, status, time.perf_counter() - started))
            if is_last:
                break
        writer.close()

    async def work_all() -> None:
        await asyncio.gather(*(work() for _ in range(clients)))

    asyncio.run(work_all())
    return answers


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Read a whole answer; return its status, and whether the server then ends the connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
    return int(head.split(maxsplit=2)[1]), b"connection: close" in head


def for_seconds(seconds: float) -> Iterator[int]:
    """Count until the time is over."""
    end = time.perf_counter() + seconds
    return itertools.takewhile(lambda _: time.perf_counter() < end, itertools.count())


def measure_load(
    address: tuple[str, int], files: list[bytes], clients: int, seconds: float
) -> dict:
    """Return the images a second, and how long answers took, in milliseconds."""
    started, cpu = time.perf_counter(), time.process_time()
    answers = load(address, [request(file) for file in files], for_seconds(seconds), clients)
    taken = time.perf_counter() - started
    assert {answer.status for answer in answers} == {200}
    p50, p95, p99 = np.percentile([answer.seconds for answer in answers], (50, 95, 99)) * 1e3
    return {
        "images_per_second": len(answers) / taken,
        **{"p50": p50, "p95": p95, "p99": p99},
        "cores_of_clients": (time.process_time() - cpu) / taken,
    }


def measure_mixed(export: Path, photos: list[bytes], count: int) -> dict:
    """Return the statuses and the memory over many requests, every tenth of which is bad."""
    bad = {
        b"": 400,
        b"no image": 422,
        bytes(100_000): 422,
        **{photo[: len(photo) // 2]: 422 for photo in photos[:16]},
    }
    good, worse = itertools.cycle(photos), itertools.cycle(bad)
    bodies = [next(good) if number % 10 else next(worse) for number in range(10 * len(bad))]
    requests = [request(body) for body in bodies]
    with serving(export) as (address, server, _):
        memory, statuses = [], Counter()
        for first in range(0, count, 1_000):
            answers = load(address, requests, range(first, min(first + 1_000, count)), CLIENTS[-1])
            for answer in answers:
                expected = bad.get(bodies[answer.number % len(bodies)], 200)
                assert answer.status == expected, (answer, expected)
            statuses.update(answer.status for answer in answers)
            memory.append(megabytes(server))
    return {"statuses": statuses, "mb": memory}


def measure_stop(export: Path, photos: list[bytes]) -> dict:
    """Return what became of the requests when the server got SIGTERM in the middle."""
    requests = [request(photo) for photo in photos]
    with serving(export) as (address, server, _):
        Timer(3, server.send_signal, [signal.SIGTERM]).start()
        answers = load(address, requests, for_seconds(60), CLIENTS[-1])
        return {"statuses": Counter(answer.status for answer in answers), "code": server.wait(60)}


def in_words(result: dict) -> str:
    """Return what the table doesn't say."""
    alone = "; ".join(
        f"photos {name}: " + ", ".join(f"{what} {rate:.0f}" for what, rate in values.items())
        for name, values in result["alone"].items()
    )
    mixed, stop = result["mixed"], result["stop"]
    statuses = ", ".join(f"{count:,} × {status}" for status, count in mixed["statuses"].items())
    return (
        f"Alone, images a second: {alone}.\n"
        f"It answered {result['start_seconds']:.1f} s after its start, with "
        f"{result['start_mb']:.0f} MB.\n"
        f"Of {mixed['statuses'].total():,} requests from {CLIENTS[-1]} clients, every tenth of "
        f"them bad, the answers were {statuses}; memory was {mixed['mb'][0]:.0f} MB after the "
        f"first thousand and {mixed['mb'][-1]:.0f} MB after the last.\n"
        f"At SIGTERM under the load of {CLIENTS[-1]} clients, {stop['statuses'][200]:,} requests "
        f"were answered, {stop['statuses'][0]} were not, and the exit code was "
        f"{stop['code']}.\n\n({result['machine']}; commit {result['commit']})"
    )


if __name__ == "__main__":
    main()
