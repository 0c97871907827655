"""Write docs/parameters.md from the descriptions in transfer/core/params.py.

    python -m scripts.parameters_page

The defaults and the sections are those of params.yaml; where it has `auto`, the defaults are those
of the recipes.
"""

import re
from pathlib import Path

from ruamel.yaml import YAML

from transfer.core.errors import run_main
from transfer.core.files import replacing
from transfer.core.params import Params
from transfer.core.params_file import load_params
from transfer.core.recipes import AUTO, RECIPES

PAGE = Path("docs/parameters.md")
HEADER = """\
# Parameters

Every parameter that determines the result. They are in `params.yaml`, and
`dvc exp run -S name=value` changes one for an experiment. Where the file has `auto`, this page has
the value of the recipe `robust` and, if that is another, of `tutorial` ([recipes.md](recipes.md)).

A value that is mistyped, out of range or unknown is refused before any work. How a stage runs, such
as the number of processes, is set in the environment instead:
[architecture.md](architecture.md#how-it-runs-is-not-what-it-computes).

`python -m scripts.parameters_page` writes this page from `transfer/core/params.py`,
`transfer/core/recipes.py` and `params.yaml`.
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
    load_params()  # which checks it
    text = render(Path("params.yaml").read_text("utf-8"))
    with replacing(PAGE) as temporary:
        temporary.write_text(text, "utf-8")


def render(yaml_text: str) -> str:
    """Return the page.

    Args:
        yaml_text: params.yaml, whose comments at the start of a line, directly above a parameter,
            are the titles of the sections.
    """
    defaults = YAML(typ="safe", pure=True).load(yaml_text)
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
            lines.append(row(name, defaults[name], schemas[name]))
    return "".join(lines)


def row(name: str, default: object, schema: dict) -> str:
    """Return a parameter's row of the table."""
    cells = [
        f"`{name}`",
        by_recipe(name) if default == AUTO else value(default),
        allowed(schema),
        schema["description"],
    ]
    return f"| {' | '.join(cells)} |\n"


def by_recipe(name: str) -> str:
    """Return what `auto` stands for, by recipe."""
    robust, tutorial = (value(RECIPES[recipe][name]) for recipe in ("robust", "tutorial"))
    return robust if robust == tutorial else f"{robust}, tutorial {tutorial}"


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
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema["type"]
    if kind in NUMBERS:
        bounds = [f"{word} {schema[key]:,}" for key, word in BOUNDS.items() if key in schema]
        return re.sub(r"(from \S+), to", r"\1 to", f"{NUMBERS[kind]} {', '.join(bounds)}")
    if "pattern" in schema:
        return f"text that matches `{schema['pattern']}`"
    return TYPES[kind]


if __name__ == "__main__":
    run_main(main)
