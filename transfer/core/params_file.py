"""Read params.yaml once, and check it as a whole before any work."""

from collections import defaultdict
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML

from transfer.core.errors import UserError, did_you_mean, shown
from transfer.core.layers import check_layers
from transfer.core.params import Params
from transfer.core.recipes import fill

MAX_BYTES = 100_000  # 20 times what params.yaml takes; the parser needs seconds a megabyte
# Names of earlier versions, and what takes their place.
RENAMED = {
    "random_crop": "is called random_resized_crop now",
    "launcher": "is no parameter any more: set the environment variable TRANSFER_LAUNCHER",
    "workers": "is no parameter any more: set the environment variable TRANSFER_WORKERS",
    "strategy": "is no parameter any more: set the environment variable TRANSFER_STRATEGY",
}


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check all the parameters.

    Raises:
        UserError: The file can't be read, or a parameter is missing, unknown, of the wrong type
            or out of range; a line for each.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run this from the top of the repository") from None
    if len(content) > MAX_BYTES:
        raise UserError(f"{path}: expected at most {MAX_BYTES:,} bytes; received more")
    try:
        # YAML 1.2, as DVC reads and writes it: 1e-06 is a number, a key that occurs twice is none.
        values = YAML(typ="safe", pure=True).load(content)
    except Exception as error:  # of a date that there is not, or 10,000 brackets: nearly anything
        raise UserError(f"{path} is not valid YAML: {_explain_yaml(error)}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected `name: value` lines; received {shown(values)}")
    try:
        params = Params.model_validate(fill({_name(key): value for key, value in values.items()}))
    except ValidationError as error:
        lines = [f"{path}: {line}" for line in _explain(error.errors())]
        raise UserError("\nerror: ".join(lines)) from None
    check_layers(params)
    return params


def _name(key: object) -> str:
    """Return a key as text that UTF-8 can hold; Pydantic does not name any other."""
    return str(key).encode(errors="backslashreplace").decode()


def _explain_yaml(error: Exception) -> str:
    """Return where in the file the parser gave up and why, without its advice to programmers."""
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return where + " ".join(str(getattr(error, "problem", None) or error).split())


def _explain(errors: list[dict]) -> list[str]:
    """Return a line for each parameter that Pydantic refuses, and for each wrong combination."""
    by_name = defaultdict(list)
    for error in errors:
        by_name[error["loc"][0] if error["loc"] else None].append(error)
        error["msg"] = error["msg"].removeprefix("Value error, ")
    lines = []
    for name, (error, *others) in by_name.items():
        received = f"; received {shown(error['input'])}"
        if name is None:
            lines.append(error["msg"])
        elif error["type"] == "missing":
            lines.append(
                f"{name}: missing; docs/parameters.md lists every parameter with its default"
            )
        elif error["type"] == "extra_forbidden":
            hint = did_you_mean(name, list(Params.model_fields))
            fault = RENAMED.get(name, f"unknown parameter{hint}")
            lines.append(f"{shown(name)[1:-1]}: {fault}{received}")
        else:  # several errors: one for each type that the parameter may have
            first, *rest = (e["msg"][0].lower() + e["msg"][1:] for e in (error, *others))
            expected = [first, *(message.removeprefix("input should be ") for message in rest)]
            lines.append(f"{name}: {' or '.join(expected)}{received}")
    return lines
