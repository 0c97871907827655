"""Measure time and peak memory of each stage: python -m benchmarks.each_stage [name=value …]

Prints a Markdown table. The values replace those of params.yaml, for example data_url=sample.
"""

import sys

import yaml

from benchmarks.common import measure
from scripts.project import PROJECT, parse_change, temporary_copy


def main() -> None:
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    with temporary_copy(**dict(map(parse_change, sys.argv[1:]))) as folder:
        print("| stage | seconds | peak MB |\n|---|---:|---:|", flush=True)
        for name in stages:
            seconds, peak = measure([sys.executable, "-m", f"stages.{name}"], folder)
            print(f"| {name} | {seconds:.1f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
