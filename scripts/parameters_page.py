"""Write docs/parameters.md from the descriptions in transfer/core/params.py.

    python -m scripts.parameters_page

The defaults and the sections are those of params.yaml.
"""

import re
from pathlib import Path

from transfer.core.errors import run_main
from transfer.core.files import replacing
from transfer.core.params import Params, load_params

PAGE = Path("docs/parameters.md")
HEADER = """\
# Parameters

Every parameter that determines the result. They are in `params.yaml`, and
`dvc exp run -S name=value` changes one for an experiment. A value that is mistyped, out of range or
unknown is refused before any work. How a stage runs, such as the number of processes, is set in the
environment instead: [architecture.md](architecture.md#how-it-runs-is-not-what-it-computes).

`python -m scripts.parameters_page` writes this page from `transfer/core/params.py` and
`params.yaml`.
"""
TYPES = {"boolean": "`true`, `false`", "null": "empty", "string": "text"}
NUMBERS = {"integer": "whole number", "number": "number"}
# JSON schema's names of bounds.
BOUNDS = {
    "minimum": "from",
    "exclusiveMinimum": "above",
    "maximum": "to",
    "exclusiveMaximum": "below",
}


def main() -> None:
    text = render(Path("params.yaml").read_text(), load_params())
    with replacing(PAGE) as temporary:
        temporary.write_text(text)


def render(yaml_text: str, params: Params) -> str:
    """Return the page.

    Args:
        yaml_text: params.yaml, whose comments at the start of a line, directly above a parameter,
            are the titles of the sections.
        params: The defaults.
    """
    schemas = Params.model_json_schema()["properties"]
    lines = [HEADER]
    title = ""
    for line in yaml_text.splitlines():
        if comment := re.match(r"# (.+)", line):
            title = comment[1]
        elif (name := line.split(":")[0]) in schemas:
            if title:
                lines += [f"\n## {title}\n\n", "| parameter | default | allowed | meaning |\n"]
                lines += ["|---|---|---|---|\n"]
                title = ""
            lines.append(row(name, getattr(params, name), schemas[name]))
    return "".join(lines)


def row(name: str, default: object, schema: dict) -> str:
    """Return a parameter's row of the table."""
    cells = [f"`{name}`", value(default), allowed(schema), schema["description"]]
    return f"| {' | '.join(cells)} |\n"


def value(default: object) -> str:
    """Return a default as params.yaml has it."""
    if default is None:
        return "empty"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def allowed(schema: dict) -> str:
    """Return in words which values a JSON schema allows."""
    if "anyOf" in schema:
        return " or ".join(map(allowed, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    kind = schema["type"]
    if kind in NUMBERS:
        bounds = [f"{word} {schema[key]:,}" for key, word in BOUNDS.items() if key in schema]
        return re.sub(r"(from \S+), to", r"\1 to", f"{NUMBERS[kind]} {', '.join(bounds)}")
    if "pattern" in schema:
        return f"text that matches `{schema['pattern']}`"
    return TYPES[kind]


if __name__ == "__main__":
    run_main(main)
