"""The space of a search: which parameters it sets, and to what."""

import contextlib
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, OverrideType, RangeSweep
from hydra.errors import HydraException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import create_trial

from scripts.project import PARAMS, set_params
from transfer.core.errors import UserError, one_line, shown
from transfer.core.params import Params
from transfer.core.params_file import load_params
from transfer.core.recipes import AUTO

# What is searched if nothing is named. Its trials take about as long as the default: more epochs or
# larger images would mostly cost more.
SPACE = (
    "fine_tune_learning_rate=tag(log,interval(0.0001,0.003))",  # the recipe's is at most 0.001
    "random_resized_crop=0.1,0.3,0.5",
    "label_smoothing=0.0,0.1,0.2",
    "mixup=0.0,0.2",
    "weight_decay=0.0,0.01",
)
# Starts of blocks, by backbone; 98 is the recipe's.
FINE_TUNE_AT = {"MobileNetV2": "fine_tune_at=54,80,98,116,134"}
# What `auto` stood for in a run, by its metrics.
IN_METRICS = {
    "fine_tune_at": "first_layer",
    "fine_tune_epochs": "epochs",
    "fine_tune_learning_rate": "learning_rate",
}
Space = dict[str, BaseDistribution]


def default_specs(params: Params) -> list[str]:
    """Return what is searched if no space is given.

    Raises:
        UserError: The recipe is another one than `robust`, which the space is for.
    """
    if params.recipe != "robust":
        raise UserError(
            f"recipe: expected robust, for which the default space is; received {params.recipe}; "
            "give a space, such as fine_tune_learning_rate='tag(log,interval(1e-6,1e-4))'"
        )
    return [*SPACE, *(spec for name, spec in FINE_TUNE_AT.items() if name == params.backbone)]


def parse_space(specs: Iterable[str]) -> Space:
    """Return the distribution of each parameter.

    Args:
        specs: In the language of `dvc exp run -S` and Hydra: name=1,2 or name=choice(1,2),
            name=range(1,9,2), name=interval(0,1), name=tag(log,interval(1e-4,1e-2)).

    Raises:
        UserError: One is not understood.
    """
    parser, space = OverridesParser.create(), {}
    for spec in specs:
        try:
            override = parser.parse_override(spec)
            space[override.key_or_group] = to_distribution(override)
        except (HydraException, ValueError) as error:
            raise UserError(
                "expected name=1,2 or name=range(1,9,2) or name=interval(0,1) or "
                f"name=tag(log,interval(1e-4,1e-2)); received {shown(spec)}: {one_line(error)}"
            ) from None
    return space


def to_distribution(override: Override) -> BaseDistribution:
    """Return Optuna's distribution for what Hydra has parsed.

    Raises:
        ValueError: It is one value only, or the values make no distribution.
        HydraException: It can't be enumerated, such as glob(*).
    """
    if override.type != OverrideType.CHANGE or not override.is_sweep_override():
        raise ValueError("a value for all trials belongs into params.yaml")
    sweep = override.value()
    log = "log" in getattr(sweep, "tags", ())
    if isinstance(sweep, IntervalSweep):
        return FloatDistribution(sweep.start, sweep.end, log=log)
    values = [getattr(value, "text", value) for value in override.sweep_iterator()]
    if isinstance(sweep, RangeSweep) and values:
        are_whole = all(isinstance(value, int) for value in values)
        distribution = IntDistribution if are_whole else FloatDistribution
        return distribution(values[0], values[-1], log=log, step=sweep.step)
    return CategoricalDistribution(values)


def check_space(space: Space) -> None:
    """Check the outermost values of each parameter as a stage would, before any work.

    Raises:
        UserError: There is no such parameter, or it may not have such a value.
    """
    with TemporaryDirectory() as folder:
        shutil.copy(PARAMS, folder)
        with contextlib.chdir(folder):
            written = Path(PARAMS).read_text("utf-8")
            for name, distribution in space.items():
                is_choice = isinstance(distribution, CategoricalDistribution)
                for value in (
                    distribution.choices if is_choice else (distribution.low, distribution.high)
                ):
                    set_params(Path(), **{name: value})
                    load_params()
                    Path(PARAMS).write_text(written, "utf-8")


def to_settings(values: Mapping[str, object]) -> dict[str, object]:
    """Return the values of a trial with numbers that people can read: three digits."""
    return {
        name: float(f"{value:.3g}") if isinstance(value, float) else value
        for name, value in values.items()
    }


def values_of_default(
    space: Space, written: Mapping[str, object], filled: Mapping[str, object], metrics: dict
) -> dict[str, object]:
    """Return where in the space the default is; what lies outside of it is left out.

    Args:
        space: By parameter.
        written: The values in params.yaml, which may be `auto`.
        filled: The same with those of the recipe, some of which are `auto`.
        metrics: Of the default's fine-tuning, which tell what `auto` stood for there.
    """
    values = {}
    for name, distribution in space.items():
        known = [written[name], filled[name]]
        if filled[name] == AUTO:
            known.append(metrics.get(IN_METRICS.get(name)))
        inside = [value for value in known if contains(distribution, value)]
        if inside:
            values[name] = inside[0]
    return values


def contains(distribution: BaseDistribution, value: object) -> bool:
    """Return whether a distribution holds a value."""
    try:
        create_trial(value=0, params={"x": value}, distributions={"x": distribution})
    except (TypeError, ValueError):
        return False
    return True
