"""Run the pipeline on the sample twice, in two folders, and compare every output.

    python -m scripts.repeat

Each run starts from nothing: it has its own folder, its own DVC cache and its own user cache.
"""

import os
import subprocess
import sys

import yaml

from scripts.project import detach_from_git, temporary_copy
from transfer.core.errors import UserError, run_main

SETTINGS = {"data_url": "sample", "fine_tune_epochs": 2}


def main() -> None:
    first, second = (run_pipeline() for _ in range(2))
    differing = [path for path in first if first[path] != second[path]]
    for path, md5 in first.items():
        print(f"{'different' if path in differing else 'same':<9}  {md5}  {path}")
    if differing:
        raise UserError(f"{len(differing)} of {len(first)} outputs differ: {', '.join(differing)}")
    print(f"all {len(first)} outputs are the same in both runs")


def run_pipeline() -> dict[str, str]:
    """Run the pipeline in a new folder; return the MD5 of each output, which DVC computed."""
    with temporary_copy(**SETTINGS) as folder:
        detach_from_git(folder)
        user_cache = {"XDG_CACHE_HOME": str(folder / "cache")}
        command = [sys.executable, "-m", "dvc", "repro"]
        subprocess.run(command, cwd=folder, env=os.environ | user_cache, check=True)
        stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


if __name__ == "__main__":
    run_main(main)
