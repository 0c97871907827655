"""Run the sample pipeline twice, in two folders, and compare every output.

    python -m scripts.repeat

The second run starts from nothing, too: it has its own folder, DVC cache and user's cache.
"""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from scripts.project import detach_from_git, temporary_copy
from transfer.core.errors import UserError, run_main

SETTINGS = {"data_url": "sample", "head_epochs": 2, "fine_tune_epochs": 2}


def main() -> None:
    first, second = (hashes_of_a_run() for _ in range(2))
    for path in first:
        print(f"{'same' if first[path] == second[path] else 'OTHER'}  {first[path]}  {path}")
    if differing := [path for path in first if first[path] != second[path]]:
        raise UserError(f"{len(differing)} of {len(first)} outputs differ: {', '.join(differing)}")
    print(f"all {len(first)} outputs are the same in both runs")


def hashes_of_a_run() -> dict[str, str]:
    """Run the pipeline in a new folder; return the MD5 of each output, as DVC has it."""
    with temporary_copy(**SETTINGS) as folder:
        detach_from_git(folder)
        own = {"XDG_CACHE_HOME": str(folder / "cache")}
        dvc = Path(sys.executable).with_name("dvc")
        subprocess.run([dvc, "repro"], cwd=folder, env=os.environ | own, check=True)
        stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


if __name__ == "__main__":
    run_main(main)
