"""Run the whole pipeline on more and more images; measure time and memory of each stage.

python -m benchmarks.scaling [--sizes 3000 30000 200000] [--workdir FOLDER]

The images are drawn here, once, into FOLDER. They are small, so that the cost of each image counts,
not that of its pixels. Every stage runs through `dvc repro`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import yaml

from benchmarks import report
from benchmarks.common import BENCHMARKS, save_results
from scripts.project import detach_from_git, set_params, temporary_copy
from transfer.core.parallel import map_in_threads

SIZE = 96  # width and height of a drawn image, in pixels
DRAWN_AT_A_TIME = 1024
SETTINGS = {
    "recipe": "tutorial",
    "base_weights": "random",
    "image_size": 32,
    "head_epochs": 1,
    "fine_tune_epochs": 1,
    "fine_tune_at": 143,
}
TRAINED = ("train_head", "fine_tune")
STORING = "train_head, views=1"
POLL_SECONDS = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[3_000, 30_000, 200_000])
    parser.add_argument("--workdir", type=Path, default=Path(tempfile.gettempdir()))
    arguments = parser.parse_args()
    workdir = arguments.workdir.absolute()
    workdir.mkdir(parents=True, exist_ok=True)
    runs = {}
    for image_count in sorted(arguments.sizes):
        archive = workdir / f"scaling-{image_count}.zip"
        if not archive.exists():
            draw_archive(archive, image_count)
        runs[str(image_count)] = run_all(archive, workdir)
        report.write(save_results({"scaling": runs}))


def draw_archive(path: Path, image_count: int) -> None:
    """Draw images of two classes, all different, into a zip."""
    partial = path.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w") as archive:
        drawn = map_in_threads(draw, range(image_count), DRAWN_AT_A_TIME)
        for number, jpeg in enumerate(drawn):
            name = ("discs", "boxes")[number % 2]
            archive.writestr(f"{name}/{number:07}.jpg", jpeg)
    partial.rename(path)


def draw(number: int) -> bytes:
    """Draw a disc or a box on a cloudy background; return it as a JPEG."""
    rng = np.random.default_rng(number)
    clouds = cv2.resize(
        rng.integers(0, 256, (8, 8, 3), np.uint8), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC
    )
    x, y = rng.integers(30, SIZE - 30, 2).tolist()
    color, radius = rng.integers(0, 256, 3).tolist(), int(rng.integers(15, 30))
    if number % 2:
        cv2.rectangle(clouds, (x - radius, y - radius), (x + radius, y + radius), color, -1)
    else:
        cv2.circle(clouds, (x, y), radius, color, -1)
    return cv2.imencode(".jpg", clouds)[1].tobytes()


def run_all(archive: Path, workdir: Path) -> dict[str, dict]:
    """Run all stages on the images of an archive; return what each took.

    At the end, the head is trained once more, on one stored view, which has to be stored first.
    """
    with temporary_copy(workdir, data_url=str(archive), **SETTINGS) as folder:
        detach_from_git(folder)
        stages = time_stages(folder)
        taken = {stage: run_stage(folder, stage) for stage in stages}
        set_params(folder, views=1)
        taken[STORING] = run_stage(folder, "train_head")
    return taken


def time_stages(folder: Path) -> list[str]:
    """Change a copy's dvc.yaml so that it times each stage and epoch; return the stages' names."""
    path = folder / "dvc.yaml"
    pipeline = yaml.safe_load(path.read_text())
    for name, stage in pipeline["stages"].items():
        command = ["python", "-m", f"stages.{name}"]
        if name in TRAINED:
            command = ["python", BENCHMARKS / "ours.py", name, folder / "epochs.json"]
        timed = ["python", BENCHMARKS / "timed.py", folder / "timed.json", *command]
        stage["cmd"] = " ".join(map(str, timed))
    path.write_text(yaml.safe_dump(pipeline, sort_keys=False))
    return list(pipeline["stages"])


def run_stage(folder: Path, stage: str) -> dict[str, float]:
    """Run a stage by DVC; return its seconds, CPU seconds and peak MB, and what DVC adds."""
    started = time.monotonic()
    environment = {"PYTHONPATH": f"{folder}:{BENCHMARKS}", "XDG_CACHE_HOME": str(folder / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "--single-item", stage],
        cwd=folder,
        stdout=sys.stderr,
        env=os.environ | environment,
    )
    peak = 0.0
    while process.poll() is None:
        peak = peak_memory(process.pid) or peak
        time.sleep(POLL_SECONDS)
    if process.returncode:
        sys.exit(f"error: dvc repro {stage} failed in {folder}")
    seconds = time.monotonic() - started
    taken = json.loads((folder / "timed.json").read_text())
    taken |= {"dvc_seconds": seconds - taken["seconds"], "dvc_peak": peak}
    if stage in TRAINED:
        epochs = json.loads((folder / "epochs.json").read_text())
        taken |= {"epoch": epochs["train"][-1], "validation": epochs["validation"][-1]}
    print(f"{stage}:", ", ".join(f"{k} {v:.1f}" for k, v in taken.items()), flush=True)
    return taken


def peak_memory(process: int) -> float:
    """Return the peak memory of a process in MB; 0 if it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return int(lines.get("VmHWM", "0 kB").split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    main()
