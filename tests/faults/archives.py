"""Damage archives; the pictures must come out of them, or one line and data/raw as before.

    python -m tests.faults.archives [--short]

Cut short and with bits flipped, from a fixed seed, and bombs of full size. A byte of a picture in a
plain tar has no checksum: these are read with the hash of their content, as `data_sha256` insists
on it.
"""

import argparse
import bz2
import io
import shutil
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from tests.faults.table import record
from transfer.core.errors import UserError
from transfer.core.files import list_files
from transfer.download.acquire import acquire_images, content_sha256

FORMATS = {"zip": "zip", "tar": "tar", "tar.gz": "gztar", "tar.bz2": "bztar", "tar.xz": "xztar"}
SAID = "the right pictures, or one line and the old ones"
REFUSED = "one line and the old pictures"
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0"  # how all begin
CLASSES = ("cats", "dogs")
GB = 1_000_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few of each kind, no bombs")
    short = parser.parse_args().short
    cuts, flips = (5, 20) if short else (200, 2000)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = write_pictures(folder / "pictures")
        content = content_sha256(folder / "pictures")
        for suffix, kind in FORMATS.items():
            whole = Path(shutil.make_archive(folder / "whole", kind, folder / "pictures"))
            expected = content if suffix == "tar" else None
            for fault, count, damage in (("cut short", cuts, cut), ("bits flipped", flips, flip)):
                wrong = 0
                for seed in range(count):
                    (folder / "damaged").write_bytes(damage(whole.read_bytes(), seed))
                    wrong += came_otherwise(folder / "damaged", expected, pictures)
                rows.append((f"{suffix}, {fault}", count, SAID, wrong))
        for fault, write in {} if short else BOMBS.items():
            write(folder / "bomb")
            rows.append((fault, 1, REFUSED, came_otherwise(folder / "bomb", None, {})))
    record("archives", rows)


def write_pictures(folder: Path) -> dict[str, bytes]:
    """Write 40 files in two classes, some small, some large, and return them."""
    rng = np.random.default_rng(0)
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
        for i in range(20):
            (folder / label / f"{i}.jpg").write_bytes(JPEG + rng.bytes(100 * 2 ** (i % 8)))
    return read(folder)


def read(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in list_files(folder)}


def cut(whole: bytes, seed: int) -> bytes:
    """Leave a part of the end out."""
    return whole[: np.random.default_rng(seed).integers(len(whole))]


def flip(whole: bytes, seed: int) -> bytes:
    """Flip one bit, or some; half of the places are among the names at the start or at the end."""
    rng = np.random.default_rng(seed)
    damaged = bytearray(whole)
    for _ in range(rng.choice([1, 1, 8])):
        place = rng.integers(len(whole))
        if rng.random() < 0.5:
            place = rng.integers(-4000, 600) % len(whole)
        damaged[place] ^= 1 << rng.integers(8)
    return bytes(damaged)


def came_otherwise(source: Path, content: str | None, pictures: dict[str, bytes]) -> int:
    """Read an archive as the stage does; print what came and return 1 if it should not have."""
    old = {"old/1.jpg": b"old"}
    with tempfile.TemporaryDirectory(dir=source.parent) as name:
        raw = Path(name) / "raw"
        (raw / "old").mkdir(parents=True)
        (raw / "old/1.jpg").write_bytes(b"old")
        try:
            acquire_images(str(source), content, raw)
            expected, said = pictures, "the archive was taken"
        except UserError as error:
            expected, said = old, str(error)
        except Exception as error:  # any other is what this looks for
            expected, said = None, repr(error)
        right = read(Path(name)) == {f"raw/{path}": data for path, data in (expected or {}).items()}
        wrong = not right or not said.isprintable()
        if wrong:
            print(f"{source.name}: {said}", file=sys.stderr)
        return int(wrong)


def zeros_in_a_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for i in range(2):
            with archive.open(f"{CLASSES[i]}/{i}.jpg", "w") as member:
                for _ in range(1000):
                    member.write(bytes(GB // 1000))


def zip_of_one_overlapping_file(path: Path) -> None:
    """Name one file of 100 MB a hundred times in the list at the end."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cats/0.jpg", bytes(GB // 10))
        archive.filelist *= 100


def stray_zeros(path: Path) -> None:
    """Write 20 GB that are no picture, packed with bzip2, which makes 20 kB of them."""
    header = tarfile.TarInfo("stray.bin")
    header.size = 20 * GB
    # Streams of bzip2 may stand one behind the other.
    zeros = bz2.compress(bytes(GB))
    path.write_bytes(bz2.compress(header.tobuf(tarfile.GNU_FORMAT)) + 20 * zeros)


def a_million_empty_files(path: Path) -> None:
    compressor = bz2.BZ2Compressor()
    with path.open("wb") as file:
        for i in range(1_000_000):
            header = tarfile.TarInfo(f"{CLASSES[i % 2]}/{i}.png")
            file.write(compressor.compress(header.tobuf()))
        file.write(compressor.compress(bytes(1024)) + compressor.flush())


def nested_headers(path: Path) -> None:
    """Write a million headers, each of which says that the name follows in the next one."""
    header = tarfile.TarInfo("x")
    header.type = tarfile.GNUTYPE_LONGNAME
    path.write_bytes(bz2.compress(header.tobuf() * 1_000_000))


def quine(path: Path) -> None:
    """Nest archives ten deep, each in the next one."""
    content = b""
    for _ in range(10):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("r/r.zip", content)
        content = buffer.getvalue()
    path.write_bytes(content)


BOMBS = {
    "zip of 2 GB of zeros": zeros_in_a_zip,
    "zip that names one file a hundred times": zip_of_one_overlapping_file,
    "tar.bz2 of 20 GB of zeros beside no pictures": stray_zeros,
    "tar.bz2 of a million empty files": a_million_empty_files,
    "tar.bz2 of a million headers of one file": nested_headers,
    "zip in a zip in a zip …": quine,
}


if __name__ == "__main__":
    main()
