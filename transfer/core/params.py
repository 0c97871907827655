"""The parameters: read once from params.yaml, checked as a whole before any work."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from ruamel.yaml import YAML

from transfer.core.errors import UserError, did_you_mean, shown
from transfer.core.files import is_plain

MAX_BYTES = 100_000  # 40 times what params.yaml takes; the parser needs seconds a megabyte


def _without_control_characters(value: str) -> str:
    if not is_plain(value):
        raise ValueError("Input should be a line of text, without control characters")
    return value


Address = Annotated[str, Field(min_length=1), AfterValidator(_without_control_characters)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Layer = Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1)]
# Names in the query of a signed URL or of one with a key: X-Amz-Signature, sig, access_token, …
SECRET = re.compile(r"(credential|key|key_?id|password|secret|sig|signature|token)$", re.IGNORECASE)
LearningRate = Annotated[float, Field(gt=0, le=1)]


class Params(BaseModel):
    """Every parameter of the pipeline; params.yaml says in a line what each one does."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    data_url: Address
    data_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None
    backbone: Annotated[str, Field(min_length=1)]
    base_weights: Address

    image_size: Annotated[int, Field(ge=32, le=1024)]
    crop_to_aspect_ratio: bool
    val_fraction: Fraction
    test_fraction: Fraction
    max_rejected: Annotated[float, Field(ge=0, le=1)]
    seed: Annotated[int, Field(ge=0, lt=2**31)]

    batch_size: Annotated[int, Field(ge=1)]
    flip: Literal["none", "horizontal", "vertical", "horizontal_and_vertical"]
    rotation: Annotated[float, Field(ge=0, le=0.5)]
    random_crop: Annotated[float, Field(ge=0, lt=1)]
    color_jitter: Annotated[float, Field(ge=0, le=1)]
    mixup: Annotated[float, Field(ge=0, le=10)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    class_weights: Literal["none", "balanced"]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    head_epochs: Annotated[int, Field(ge=1)]
    head_learning_rate: LearningRate
    fine_tune_epochs: Annotated[int, Field(ge=1)]
    fine_tune_learning_rate: LearningRate
    fine_tune_at: Layer
    schedule: Literal["constant", "cosine"]
    warmup_epochs: Annotated[int, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0, lt=1)]
    early_stopping: Annotated[int, Field(ge=0)]
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"]

    views: Annotated[int, Field(ge=0)]
    views_at: Layer
    views_gb: Annotated[float, Field(gt=0)]

    strategy: Literal["auto", "one", "mirrored", "multi_worker"]
    launcher: Literal["none", "local", "srun", "ray"]
    workers: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _leave_pictures_to_train_on(self) -> "Params":
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                "val_fraction + test_fraction must be below 1, or nothing is left to train on; "
                f"received {self.val_fraction} + {self.test_fraction}"
            )
        return self

    @model_validator(mode="after")
    def _leave_epochs_after_the_warm_up(self) -> "Params":
        for name in ("head_epochs", "fine_tune_epochs"):
            if self.warmup_epochs >= getattr(self, name):
                raise ValueError(
                    f"warmup_epochs must be below {name}, or the learning rate is never reached; "
                    f"received {self.warmup_epochs} of {getattr(self, name)}"
                )
        return self

    @model_validator(mode="after")
    def _launch_what_works_together(self) -> "Params":
        if self.launcher == "none" and self.workers > 1:
            raise ValueError(
                "workers: expected 1 where launcher is none, which starts none; "
                f"received {self.workers}"
            )
        if self.launcher != "none" and self.strategy not in ("auto", "multi_worker"):
            raise ValueError(
                f"strategy: expected auto or multi_worker where launcher is {self.launcher}; "
                f"received {self.strategy}"
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
        return Params.model_validate({_name(key): value for key, value in values.items()})
    except ValidationError as error:
        lines = [f"{path}: {line}" for line in _explain(error.errors())]
        raise UserError("\nerror: ".join(lines)) from None


def _name(key: object) -> str:
    """Return a key as text that UTF-8 can hold: Pydantic says of another one no name."""
    return str(key).encode(errors="backslashreplace").decode()


def _explain_yaml(error: Exception) -> str:
    """Return where in the file the parser gave up, and why, without its advice to programmers."""
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return where + " ".join(str(getattr(error, "problem", None) or error).split())


def _explain(errors: list[dict]) -> list[str]:
    """Return a line for each parameter that Pydantic refuses, or for how some go together."""
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
            lines.append(f"{name}: missing; README.md lists every parameter with its default")
        elif error["type"] == "extra_forbidden":
            hint = did_you_mean(name, list(Params.model_fields))
            lines.append(f"{shown(name)[1:-1]}: unknown parameter{hint}{received}")
        else:  # several errors: one for each type that the parameter may have
            first, *rest = (e["msg"][0].lower() + e["msg"][1:] for e in (error, *others))
            expected = [first, *(message.removeprefix("input should be ") for message in rest)]
            lines.append(f"{name}: {' or '.join(expected)}{received}")
    return lines


def _secret_in(url: str) -> str | None:
    """Return what a URL has of a login or a signature, by its name; it is not to be printed."""
    parts = urlsplit(url)
    if parts.password is not None or (parts.username and parts.scheme in ("http", "https")):
        return "a login"
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    return next((name for name in names if SECRET.search(name)), None)
