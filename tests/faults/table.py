"""One table of all the faults injected: results.json, and as Markdown RESULTS.md."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

RESULTS = Path(__file__).with_name("results.json")
TABLE = Path(__file__).with_name("RESULTS.md")
HEAD = """# Faults injected, and what came of them

`make faults` repeats it; each part runs alone, too, such as `python -m tests.faults.images`.

| part | fault | count | expected | otherwise |
|---|---|---:|---|---:|
"""


def record(part: str, rows: Sequence[tuple[str, int, str, int]]) -> None:
    """Replace the rows of a part: fault, how often, what must come of it, how often it did not.

    A short run prints its rows and keeps none. Exits with 1 if anything came otherwise.
    """
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results = dict(sorted((results | {part: rows}).items()))
    lines = [
        f"| {name} | {fault} | {count:,} | {expected} | {otherwise} |\n"
        for name, part_rows in results.items()
        for fault, count, expected, otherwise in part_rows
    ]
    if "--short" not in sys.argv:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        TABLE.write_text(HEAD + "".join(lines))
    print("".join(line for line in lines if line.startswith(f"| {part} |")), end="")
    if wrong := sum(row[3] for row in rows):
        sys.exit(f"error: {wrong} faults came otherwise than expected")
