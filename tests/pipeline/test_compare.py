"""Comparing the predictions of two revisions, in a repository with nothing but their results."""

import csv
import shutil

import pytest
import yaml

from scripts import compare
from scripts.experiments import is_outdated
from tests.helpers.repository import Repository
from transfer.core.errors import UserError

CATS, DOGS = ([f"{name}/{number:02}.jpg" for number in range(20)] for name in ("cats", "dogs"))


def write_results(
    repository,
    wrong=(),
    corrected=(),
    images=(*CATS, *DOGS),
    model="1",
    raw="1",
    dropout=0.2,
):
    """Write what a run leaves in git: predictions, parameters and dvc.lock."""
    metrics = repository.folder / "metrics"
    metrics.mkdir(exist_ok=True)
    other = {"cats": "dogs", "dogs": "cats"}
    with (metrics / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "label", "probability", "prediction"))
        for path in images:
            label = path.split("/")[0]
            label = other[label] if path in corrected else label
            writer.writerow((path, label, 0.9, other[label] if path in wrong else label))
    (repository.folder / "params.yaml").write_text("dropout: 0.2  # a comment\nrate: 1e-05\n")
    params = {"params.yaml": {"dropout": dropout, "rate": 1e-05}}
    stages = {
        "download": {"deps": [], "outs": [{"path": "data/raw", "md5": raw}]},
        "features": {"deps": [{"path": "models/model.keras", "md5": "of another pipeline"}]},
        "fine_tune": {
            "deps": [],
            "params": params,
            "outs": [{"path": "models/model.keras", "md5": "1"}],
        },
        "evaluate": {"deps": [{"path": "models/model.keras", "md5": model}], "outs": []},
        "plot": {"deps": [{"path": "models/model.keras", "md5": "older"}], "outs": []},
    }
    (repository.folder / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return a repository with a commit, tags for other results, and experiments of the commit."""
    repository = Repository(tmp_path_factory.mktemp("results"))
    write_results(repository, wrong=CATS[:12])
    repository.commit("main")
    start = repository.run("git", "rev-parse", "HEAD").stdout.strip()

    def record(ref, **values):
        write_results(repository, **values)
        repository.commit(ref)
        repository.run("git", "update-ref", ref, "HEAD")
        repository.run("git", "reset", "-q", "--hard", start)

    ours, others = (f"refs/exps/{name[:2]}/{name[2:]}" for name in (start, 40 * "f"))
    record(f"{ours}/better", wrong=DOGS[:3])
    record(f"{ours}/alike", wrong=CATS[2:14])
    record(f"{ours}/unfinished", model="2")
    record(f"{ours}/edited", dropout=0.5)
    record(f"{others}/better", wrong=CATS)
    record(f"{others}/earlier", wrong=CATS)
    record("refs/tags/seed-1", images=[*CATS[15:], *DOGS], corrected=CATS[15:16], wrong=DOGS[:1])
    record("refs/tags/cats", images=["cats/a.jpg"])
    record("refs/tags/new-images", raw="2")
    return repository


@pytest.fixture
def said(run_here, results):
    def run(*arguments):
        done = run_here(results.folder, compare.main, *arguments)
        return done.stdout + done.stderr

    return run


def test_the_better_one_is_named_with_the_counts(said):
    # Right only with better: 12 cats; only with main: 3 dogs. p = 2 * sum(C(15, 0..3)) / 2**15
    assert said("main", "better") == (
        "better is better than main: 12 of 40 test images are right only with better, 3 only with "
        "main (McNemar's exact test, p = 0.035)\n"
    )


def test_a_difference_of_chance_is_called_so(said):
    assert said("alike", "main") == (
        "alike and main do not differ significantly: 2 of 40 test images are right only with "
        "main, 2 only with alike (McNemar's exact test, p = 1)\n"
    )


def test_images_with_two_predictions_are_listed(said):
    lines = said("--images", "main", "alike").splitlines()[1:]
    assert [line.split() for line in lines] == [
        ["image", "label", "main", "alike"],
        *([path, "cats", "dogs", "cats"] for path in CATS[:2]),
        *([path, "cats", "cats", "dogs"] for path in CATS[12:14]),
    ]


def test_experiments_of_other_commits_and_the_workspace_have_names_too(said):
    assert said("main", "earlier").startswith("main is better than earlier: 8 of 40 ")
    assert said("workspace", "HEAD").startswith("workspace and HEAD do not differ significantly")


def test_only_the_images_of_both_splits_are_compared(said):
    first, second = said("main", "seed-1").splitlines()
    assert first == (
        "main has 40 test images, seed-1 has 25; the 24 that have the same path and label in both "
        "are compared"
    )
    assert "1 of 24 test images are right only with main, 0 only with seed-1" in second
    assert said("main", "cats").startswith("error: main and cats have no test image in common")


def test_other_images_below_the_same_paths_are_told(said):
    assert said("main", "new-images").startswith("their images differ; ")


@pytest.mark.parametrize("name", ["unfinished", "edited"])
def test_predictions_older_than_their_model_or_parameters_are_refused(said, name):
    assert said("main", name).startswith(f"error: {name}: metrics/predictions.csv is older than ")


def test_names_that_mean_nothing_or_too_much_are_refused(said, results):
    assert "received 'bettr' (did you mean better?)" in said("main", "bettr")
    assert "received '--output=x'" in said("main", "--", "--output=x")
    results.run("git", "checkout", "-q", "cats")
    assert "experiments of 2 commits have this name" in said("main", "better")
    results.run("git", "checkout", "-q", "main")


def test_a_revision_without_predictions_is_refused(said, results):
    empty = results.run("git", "commit-tree", "-m", "x", "4b825dc642cb6eb9a060e54bf8d69288fbee4904")
    assert "has no metrics/predictions.csv" in said("main", empty.stdout.strip())


def test_it_reads_a_project_in_a_folder_of_a_repository(results, tmp_path, monkeypatch):
    shutil.copytree(results.folder, tmp_path / "inner", ignore=shutil.ignore_patterns(".git"))
    outer = Repository(tmp_path)
    outer.commit()
    monkeypatch.chdir(tmp_path / "inner")
    assert len(compare.read_predictions("HEAD", "HEAD")) == 40
    with pytest.raises(UserError, match="expected the name of an experiment"):
        compare.resolve("better")
    assert not is_outdated("HEAD")
