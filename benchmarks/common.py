"""What benchmarks share: measured processes, one file of results, tables."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

BENCHMARKS = Path(__file__).parent
RESULTS = Path(os.environ.get("BENCH_RESULTS", BENCHMARKS)) / "results.json"
MEASURED = ("transfer", "stages", "scripts", "dvc.yaml", "params.yaml", "requirements.lock")
EXTENSIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # flags that decide on the speed


def measure(command: list, folder: Path, **environment: str) -> tuple[float, float]:
    """Run a command; return its seconds and its peak resident memory in MB."""
    started = time.monotonic()
    python_path = os.pathsep.join((str(folder), str(BENCHMARKS)))
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=folder,
        stdout=sys.stderr,
        env=os.environ | {"PYTHONPATH": python_path} | environment,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"error: {' '.join(map(str, command))} failed")
    return time.monotonic() - started, usage.ru_maxrss * 1024 / 1e6  # Linux counts in KiB


def in_turn(functions: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Return the median seconds of each function; every round calls all of them once."""
    for function in functions.values():
        function()
    seconds = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def read_results() -> dict:
    """Return what results.json holds so far."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def save_results(changes: dict) -> dict:
    """Update results.json, which says by what each of its parts was made; return all of it."""
    results = read_results() | changes
    results["made_by"] = results.get("made_by", {}) | dict.fromkeys(changes, made_by())
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    return results


def made_by() -> dict[str, str]:
    """Return the commit of the code that is measured, and the machine."""
    return {"commit": commit(), "machine": machine()}


def commit() -> str:
    """Return the last commit that touched the code that is measured; "…+" with changes since."""
    hashes, changes = (
        subprocess.check_output(
            ["git", "-C", BENCHMARKS.parent, *command, "--", *MEASURED], text=True
        )
        for command in (("log", "-1", "--format=%h"), ("status", "--porcelain"))
    )
    return hashes.strip() + "+" * bool(changes)


def machine() -> str:
    """Describe the processor and Python."""
    with open("/proc/cpuinfo") as file:
        info = dict(line.split(":", 1) for line in file if ":" in line)
    facts = {name.strip(): value.strip() for name, value in info.items()}
    flags = facts.get("flags", "").split()
    parts = [f"{facts.get('cpu cores')} cores", *(name for name in EXTENSIONS if name in flags)]
    return f"{facts['model name']} ({', '.join(parts)}), Python {platform.python_version()}"


def table(header: list, rows: list[list]) -> str:
    """Format a Markdown table; all columns but the first are aligned to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def replace_between(page: Path, start: str, end: str, text: str) -> None:
    """Replace what a page has between two lines."""
    before, _, rest = page.read_text().partition(start)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{start}{text}\n{end}{after}")
