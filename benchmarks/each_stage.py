"""Time each stage and take its peak memory, in a copy: python benchmarks/stages.py [name=value …]

Prints a Markdown table. Values replace those of params.yaml, such as data_url=sample.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

PROJECT = Path(__file__).parent.parent


def measure(command: list[str], folder: Path) -> tuple[float, float]:
    """Run a command; return its seconds and its peak resident memory in MiB."""
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"error: {' '.join(command)} failed")
    return time.monotonic() - started, usage.ru_maxrss / 1024  # Linux counts in KiB


def main() -> None:
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    changes = dict(argument.split("=", 1) for argument in sys.argv[1:])
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params |= {name: yaml.safe_load(value) for name, value in changes.items()}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("stages", "transfer"):
            shutil.copytree(PROJECT / name, Path(folder, name))
        Path(folder, "params.yaml").write_text(yaml.safe_dump(params))
        print("| stage | seconds | peak MiB |\n|---|---:|---:|", flush=True)
        for name in stages:
            seconds, peak = measure([sys.executable, "-m", f"stages.{name}"], Path(folder))
            print(f"| {name} | {seconds:.1f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
