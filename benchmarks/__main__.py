"""Run benchmarks: python -m benchmarks [PART …] [--torch PYTHON].

A part that results.json or headline.json has already, by this code on this machine, is not run
again; the comparison with the tutorial's script goes on where it stopped. Without PARTs, those of
`make bench` run.
"""

import argparse
import subprocess
import sys

from benchmarks.common import made_by, read_results
from benchmarks.headline import RESULTS as HEADLINE
from benchmarks.report import MODULES
from transfer.core.files import read_json

PARTS = [*MODULES, "headline"]
SHORT = ("tricks", "operations", "growing", "peer", "comparison")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that has PyTorch")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"expected some of {', '.join(PARTS)}; received {', '.join(sorted(unknown))}")
    for part in arguments.parts or SHORT:
        if part == "peer" and not arguments.torch:
            print("bench: peer: left out; name an interpreter that has PyTorch by --torch")
        elif part != "comparison" and is_done(part):
            print(f"bench: {part}: done already, by this code on this machine")
        else:
            options = [arguments.torch] if part == "peer" else []
            module = f"benchmarks.{MODULES.get(part, part)}"
            subprocess.run([sys.executable, "-m", module, *options], check=True)


def is_done(part: str) -> bool:
    """Return whether a part was measured by this code on this machine."""
    if part == "headline":
        found = read_json(HEADLINE) if HEADLINE.exists() else {}
    else:
        found = read_results().get("made_by", {}).get(part, {})
    return made_by().items() <= found.items()


if __name__ == "__main__":
    main()
