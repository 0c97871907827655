"""The parameters: read once from params.yaml, checked as a whole before any work."""

import difflib
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from transfer.errors import UserError

Fraction = Annotated[float, Field(gt=0, lt=1)]
Layer = Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1)]
# Names in the query of a signed URL or of one with a key: X-Amz-Signature, sig, access_token, …
SECRET = re.compile(r"(credential|key|key_?id|password|secret|sig|signature|token)$", re.IGNORECASE)
LearningRate = Annotated[float, Field(gt=0, le=1)]


class Params(BaseModel):
    """Every parameter of the pipeline; params.yaml says in a line what each one does."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    data_url: Annotated[str, Field(min_length=1)]
    data_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None
    backbone: Annotated[str, Field(min_length=1)]
    base_weights: Annotated[str, Field(min_length=1)]

    image_size: Annotated[int, Field(ge=32, le=1024)]
    crop_to_aspect_ratio: bool
    val_fraction: Fraction
    test_fraction: Fraction
    seed: Annotated[int, Field(ge=0, lt=2**31)]

    batch_size: Annotated[int, Field(ge=1)]
    flip: Literal["none", "horizontal", "vertical", "horizontal_and_vertical"]
    rotation: Annotated[float, Field(ge=0, le=0.5)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    head_epochs: Annotated[int, Field(ge=1)]
    head_learning_rate: LearningRate
    fine_tune_epochs: Annotated[int, Field(ge=1)]
    fine_tune_learning_rate: LearningRate
    fine_tune_at: Layer
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"]

    views: Annotated[int, Field(ge=0)]
    views_at: Layer
    views_gb: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _leave_pictures_to_train_on(self) -> "Params":
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                "val_fraction + test_fraction must be below 1, or nothing is left to train on; "
                f"received {self.val_fraction} + {self.test_fraction}"
            )
        return self

    @model_validator(mode="after")
    def _hold_no_secret(self) -> "Params":
        for name in ("data_url", "base_weights"):
            if secret := _secret_in(getattr(self, name)):
                raise ValueError(
                    f"{name}: expected a URL without secrets, for this file and dvc.lock go into "
                    f"git; received one with {secret}; s3:// and gs:// take credentials from the "
                    "environment; else fetch the file yourself and give its path"
                )
        return self

    def check_layers(self, layer_names: Sequence[str]) -> None:
        """Check the parameters that name layers of the base.

        Raises:
            UserError: Not one of its indices or names.
        """
        for name in ("fine_tune_at", "views_at"):
            layer_index(name, getattr(self, name), layer_names)


def layer_index(parameter: str, value: int | str, layer_names: Sequence[str]) -> int:
    """Return the index of the layer that the value of a parameter means, an index or a name.

    Raises:
        UserError: Out of range, or no layer of that name.
    """
    if isinstance(value, str):
        if value in layer_names:
            return layer_names.index(value)
        raise UserError(
            f"{parameter}: the base has no layer of that name{_hint(value, layer_names)}; "
            f"give a name or an index from 0 to {len(layer_names) - 1}; received {value!r}"
        )
    if value >= len(layer_names):
        raise UserError(
            f"{parameter}: the base has {len(layer_names)} layers, so the index must be from "
            f"0 to {len(layer_names) - 1}; received {value}"
        )
    return value


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check all the parameters.

    Raises:
        UserError: The file can't be read, or a parameter is missing, unknown, of the wrong type
            or out of range; a line for each.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Yaml12Loader)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run this from the top of the repository") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected `name: value` lines; received {values!r}")
    try:
        return Params(**{str(key): value for key, value in values.items()})
    except ValidationError as error:
        lines = [f"{path}: {line}" for line in _explain(error.errors())]
        raise UserError("\nerror: ".join(lines)) from None


class _Yaml12Loader(yaml.SafeLoader):
    """Read 1e-06, which DVC writes for `-S fine_tune_learning_rate=1e-6`, as a number.

    YAML 1.1, which PyYAML follows, asks for a dot before the exponent; YAML 1.2 does not.
    """


_Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _explain(errors: list[dict]) -> list[str]:
    """Return a line for each parameter that Pydantic refuses, or for how some go together."""
    by_name = defaultdict(list)
    for error in errors:
        by_name[str(error["loc"][0]) if error["loc"] else ""].append(error)
    lines = []
    for name, (error, *others) in by_name.items():
        if not name:
            lines.append(error["msg"].removeprefix("Value error, "))
        elif error["type"] == "missing":
            lines.append(f"{name}: missing; README.md lists every parameter with its default")
        elif error["type"] == "extra_forbidden":
            hint = _hint(name, list(Params.model_fields))
            lines.append(f"{name}: unknown parameter{hint}; received {error['input']!r}")
        else:  # several errors: one for each type that the parameter may have
            first, *rest = (e["msg"][0].lower() + e["msg"][1:] for e in (error, *others))
            expected = [first, *(message.removeprefix("input should be ") for message in rest)]
            lines.append(f"{name}: {' or '.join(expected)}; received {error['input']!r}")
    return lines


def _secret_in(url: str) -> str | None:
    """Return what a URL has of a login or a signature, by its name; it is not to be printed."""
    parts = urlsplit(url)
    if parts.password is not None or (parts.username and parts.scheme in ("http", "https")):
        return "a login"
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    return next((name for name in names if SECRET.search(name)), None)


def _hint(word: str, words: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, words, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
