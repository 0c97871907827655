"""Compare two experiments on the same test images, by McNemar's test.

    python -m scripts.compare main sweep-3
    python -m scripts.compare --images main sweep-3   # lists the images that they disagree on

Each is the name of an experiment, a Git revision, or `workspace`.
"""

import argparse
import csv
import io
import re

import numpy as np

from scripts.experiments import WORKSPACE, git, is_outdated, read_at, read_stages
from scripts.table import print_aligned
from transfer.core.errors import UserError, did_you_mean, printable, run_main, shown
from transfer.core.files import PREDICTIONS, RAW
from transfer.evaluation.metrics import SIGNIFICANT, mcnemar_test


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs=2, metavar="NAME", help="an experiment or a Git revision")
    parser.add_argument("--images", action="store_true", help="list those with two predictions")
    arguments = parser.parse_args()
    names = [printable(name) for name in arguments.names]
    revisions = [resolve(name) for name in arguments.names]
    first, second = map(read_predictions, names, revisions)
    common = [path for path in first if path in second and first[path][0] == second[path][0]]
    if not common:
        raise UserError(
            f"{names[0]} and {names[1]} have no test image in common, or only with other labels; "
            "compare experiments with the same images and the same seed, which makes the split"
        )
    if len(common) < max(len(first), len(second)):
        print(
            f"{names[0]} has {len(first)} test images, {names[1]} has {len(second)}; the "
            f"{len(common)} that have the same path and label in both are compared"
        )
    if len({hash_images(revision) for revision in revisions}) > 1:
        print("their images differ; those with the same path and label are taken for the same")
    first_right, second_right = (
        np.array([label == prediction for label, prediction in map(said.get, common)])
        for said in (first, second)
    )
    print(conclude(names, len(common), *mcnemar_test(first_right, second_right)))
    changed = [path for path in common if first[path] != second[path]]
    if arguments.images and changed:
        rows = [(path, *first[path], second[path][1]) for path in changed]
        print_aligned(("image", "label", *names), [map(printable, row) for row in rows])


def resolve(name: str) -> str:
    """Return the commit that a name stands for, or WORKSPACE.

    Raises:
        UserError: There is none, or there are several.
    """
    if name == WORKSPACE:
        return name
    refs = git("for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/exps/*/*/*")
    experiments: dict[str, dict[str, str]] = {}  # by name: commits, by the commit they started from
    for ref in refs.splitlines():
        commit, start, end, experiment = re.split("[ /]", ref, maxsplit=3)
        experiments.setdefault(experiment, {})[start + end] = commit
    found = experiments.get(name, {})
    head = git("rev-parse", "HEAD")
    if head in found:
        return found[head]
    if len(found) > 1:
        raise UserError(
            f"{shown(name)}: experiments of {len(found)} commits have this name; expected one of "
            f"their hashes {', '.join(commit[:9] for commit in found.values())}"
        )
    commit = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if not (found or commit):
        raise UserError(
            "expected the name of an experiment, as `make table` lists them, or a Git revision; "
            f"received {shown(name)}{did_you_mean(name, list(experiments))}"
        )
    return next(iter(found.values()), commit)


def read_predictions(name: str, revision: str) -> dict[str, tuple[str, str]]:
    """Return label and prediction of each test image, by its path.

    Args:
        name: Of the revision, for messages.
        revision: A commit, or WORKSPACE.

    Raises:
        UserError: It has none, or they are older than its model.
    """
    text = read_at(revision, str(PREDICTIONS))
    if text is None:
        raise UserError(f"{name} has no {PREDICTIONS}; run its pipeline to the end first")
    if is_outdated(revision):
        raise UserError(
            f"{name}: {PREDICTIONS} is older than its parameters or its model; run its pipeline to "
            "the end first"
        )
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return {row["path"]: (row["label"], row["prediction"]) for row in rows}


def hash_images(revision: str) -> str | None:
    """Return the hash of the images that a revision takes its splits from; None if unknown."""
    outs = read_stages(revision).get("download", {"outs": []})["outs"]
    return next((out["md5"] for out in outs if out["path"] == str(RAW)), None)


def conclude(
    names: list[str], images: int, only_first: int, only_second: int, p_value: float
) -> str:
    """Say in a sentence which of two is better.

    Args:
        names: Of both.
        images: Number of test images that both have.
        only_first: Number of images that only the first gets right.
        only_second: Number of images that only the second gets right.
        p_value: Of McNemar's test.
    """
    (fewer, worse), (more, better) = sorted(zip((only_first, only_second), names, strict=True))
    if p_value <= SIGNIFICANT:
        verdict = f"{better} is better than {worse}"
    else:
        verdict = f"{names[0]} and {names[1]} do not differ significantly"
    return (
        f"{verdict}: {more} of {images} test images are right only with {better}, {fewer} only "
        f"with {worse} (McNemar's exact test, p = {p_value:.2g})"
    )


if __name__ == "__main__":
    run_main(main)
