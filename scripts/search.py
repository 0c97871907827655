"""Search for better parameters than those of params.yaml; write a report.

    python -m scripts.search --trials 20 --minutes 60
    python -m scripts.search 'fine_tune_learning_rate=tag(log,interval(1e-4,1e-2))' mixup=0.0,0.2

The first trial is params.yaml as it is; Optuna proposes the others. Each is an experiment of DVC,
but for hopeless ones, which are stopped: they make twice as many mistakes as is usual at that point
of the training. The search called --name continues if it was interrupted or gets more trials.
"""

import argparse
import math
import signal
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

try:
    import optuna
except ImportError:
    sys.exit("error: Optuna is not installed; run make search, or pip install -r extras/search.txt")
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from scripts.experiments import FINE_TUNE, git, load_yaml
from scripts.project import PARAMS
from scripts.search_report import ended, make_row, to_line, write_report
from scripts.search_space import (
    Space,
    check_space,
    default_specs,
    parse_space,
    to_settings,
    values_of_default,
)
from scripts.search_trial import (
    QUARTERS,
    Scores,
    first_error,
    read_result,
    run_experiment,
)
from transfer.core.errors import UserError, run_main, shown
from transfer.core.params_file import load_params

SEARCHES = Path("searches")
BY_CHANCE = 5  # trials, before the sampler learns from what they gave
STOPS = range(2, QUARTERS)  # quarters of fine-tuning after which a trial may be stopped
MISTAKES = 2  # times as many as is usual make a trial hopeless
LOSS_WEIGHT = 1e-6  # so little that the loss decides only where the accuracies are the same


def main() -> None:
    arguments = parse(sys.argv[1:])
    # A script's background job ignores it, and so would the runs, which are stopped by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end = time.monotonic() + 60 * arguments.minutes
    name = arguments.name or time.strftime("search-%m%d-%H%M%S")
    study = open_study(name, arguments.space)
    space = parse_space(study.user_attrs["space"])
    print(f"search: {name}; `python -m scripts.search --name {name}` continues it", flush=True)
    if not ended(study):
        run_default(study, space)
    while len(ended(study)) < arguments.trials and time.monotonic() < end:
        run_trial(study, space)
        write_report(study, space, SEARCHES / name)
    print(f"\n{write_report(study, space, SEARCHES / name)}\nsearch: report in {SEARCHES / name}/")


def parse(words: list[str]) -> argparse.Namespace:
    """Parse the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("space", nargs="*", help="name=1,2 or name=range(…) or name=interval(…)")
    parser.add_argument("-t", "--trials", type=int, default=20, help="in all, with params.yaml's")
    parser.add_argument("-m", "--minutes", type=float, default=math.inf, help="start none later")
    parser.add_argument("-n", "--name", help="of the search and, numbered, of its experiments")
    arguments = parser.parse_args(words)
    if arguments.trials < 1 or not arguments.minutes > 0:
        parser.error("--trials and --minutes must be above 0")
    return arguments


def open_study(name: str, specs: list[str]) -> optuna.Study:
    """Open a search, or make a new one.

    Args:
        name: Of the search.
        specs: Its space, for `parse_space`; empty: the one that it has, or the default.

    Raises:
        UserError: The space is not understood, or the search has another space or another commit.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    (SEARCHES / name).mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{SEARCHES / name / 'study.db'}",
        study_name=name,
        direction="maximize",
        pruner=Hopeless(),
        load_if_exists=True,
    )
    wanted = {
        "space": specs or study.user_attrs.get("space") or default_specs(load_params()),
        "commit": git("rev-parse", "HEAD"),
        PARAMS: Path(PARAMS).read_text("utf-8"),
    }
    check_space(parse_space(wanted["space"]))
    for key, value in wanted.items():
        known = study.user_attrs.get(key, value) if ended(study) else value
        if known != value:
            raise UserError(
                f"{name}: this search began with another {key}, and its trials could not be "
                f"compared; expected {shown(known)}; received {shown(value)}; give another --name"
            )
        study.set_user_attr(key, value)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):  # interrupted
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
    return study


def run_default(study: optuna.Study, space: Space) -> None:
    """Run params.yaml as it is, and add it to a search.

    Raises:
        UserError: It fails.
    """
    written = load_yaml(Path(PARAMS))
    name, started = f"{study.study_name}-0", time.monotonic()
    log = SEARCHES / study.study_name / f"{name}.log"
    if run_experiment(name, {}, log, lambda scores: False) != "success":
        raise UserError(f"{name}, {PARAMS} as it is, failed: {first_error(log)}; {log} has more")
    seconds = round(time.monotonic() - started)
    point, scores = read_result(study.study_name, name)
    metrics = point["metrics"]
    params = values_of_default(space, written, dict(load_params()), metrics[FINE_TUNE])
    study.add_trial(
        create_trial(
            value=value_of(metrics),
            params=params,
            distributions={key: space[key] for key in params},
            intermediate_values=scores,
            user_attrs={"name": name, "seconds": seconds, "metrics": metrics},
        )
    )
    print(to_line(make_row(ended(study)[-1], space)), flush=True)


def value_of(metrics: dict) -> float:
    """Return what a search maximizes: validation accuracy and, where it is equal, a low loss.

    Args:
        metrics: By file.
    """
    return metrics[FINE_TUNE]["val_accuracy"] - LOSS_WEIGHT * metrics[FINE_TUNE]["val_loss"]


def run_trial(study: optuna.Study, space: Space) -> None:
    """Run the trial that Optuna proposes, and tell it what that gave."""
    trial = propose(study, space)
    name, started = f"{study.study_name}-{trial.number}", time.monotonic()
    log = SEARCHES / study.study_name / f"{name}.log"
    report = reporter(trial)
    outcome = run_experiment(name, to_settings(trial.params), log, report)
    trial.set_user_attr("name", name)
    trial.set_user_attr("seconds", round(time.monotonic() - started))
    if outcome == "success":
        point, scores = read_result(study.study_name, name)
        report(scores)
        trial.set_user_attr("metrics", point["metrics"])
        study.tell(trial, value_of(point["metrics"]))
    else:
        stopped = outcome == "stopped"
        study.tell(trial, state=TrialState.PRUNED if stopped else TrialState.FAIL)
    print(to_line(make_row(ended(study)[-1], space)), flush=True)


def propose(study: optuna.Study, space: Space) -> Trial:
    """Return the next trial, with its values.

    The sampler is made anew, with a seed of its own: so a search that was interrupted proposes what
    an uninterrupted one does.
    """
    seed = len(ended(study))
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=BY_CHANCE)
    return study.ask(space)


def reporter(trial: Trial) -> Callable[[Scores], bool]:
    """Return a function that reports new scores of a trial and says whether it is hopeless."""
    reported = set()

    def report(scores: Scores) -> bool:
        for quarter in sorted(scores.keys() - reported):
            reported.add(quarter)
            trial.report(scores[quarter], quarter)
            if trial.should_prune():
                return True
        return False

    return report


class Hopeless(optuna.pruners.BasePruner):
    """Stop a trial with twice as many mistakes as the median of the finished ones at that point.

    To be a little worse than the median tells nothing: what is delivered lies between the head and
    the fine-tuned weights, often near the head, and can be the best although the curve is not.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether the trial shall be stopped, as Optuna asks it after each report."""
        quarter = trial.last_step
        others = [
            other.intermediate_values[quarter]
            for other in study.get_trials(states=(TrialState.COMPLETE,))
            if quarter in other.intermediate_values
        ]
        if quarter not in STOPS or not others:
            return False
        best = max(trial.intermediate_values.values())
        return 1 - best > MISTAKES * (1 - statistics.median(others))


if __name__ == "__main__":
    run_main(main)
