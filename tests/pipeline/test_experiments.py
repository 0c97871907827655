"""Experiments and their comparison, as the guides have users type them."""

import csv
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from tests.helpers.project import PROJECT
from tests.helpers.repository import ran
from transfer.core.params_file import load_params
from transfer.data.raw import RawImages
from transfer.download.sample import draw_sample

pytestmark = pytest.mark.slow

TEAM = (PROJECT / "docs/team.md").read_text()


def experiments(repository):
    """Return what dvc knows of each experiment on this commit, by name."""
    _, head = json.loads(repository.dvc("exp", "show", "--json"))
    return {e["name"]: e["revs"][0]["data"] for e in head["experiments"] or []}


def test_several_parameters_are_changed_at_once_in_a_temporary_copy(repository):
    change = ("-S", "fine_tune_at=140", "-S", "fine_tune_learning_rate=1e-6")
    output = repository.dvc("exp", "run", "--temp", "--name", "both", *change)
    assert ran(output) == ["fine_tune", "evaluate", "plot"]
    assert repository.run("git", "status", "--short").stdout == ""
    params = experiments(repository)["both"]["params"]["params.yaml"]["data"]
    assert (params["fine_tune_at"], params["fine_tune_learning_rate"]) == (140, 1e-6)


def test_an_experiment_changes_its_own_line_of_params_yaml_only(repository):
    repository.dvc("exp", "apply", "both")
    changed = repository.run("git", "diff", "-U0", "params.yaml").stdout
    repository.restore()
    names = re.findall(r"^\+(\w+):", changed, re.MULTILINE)
    assert names == ["fine_tune_learning_rate", "fine_tune_at"]


def test_a_relative_path_in_a_temporary_copy_is_refused_with_the_way_on(repository):
    (repository.folder / "mine").mkdir()
    output = repository.dvc("exp", "run", "--temp", "-S", "data_url=mine", check=False)
    (repository.folder / "mine").rmdir()
    assert "absolute, so that `dvc exp run --temp` finds it too" in output
    assert "Traceback" not in output


def test_a_quoted_path_may_hold_any_character(make_small_repository, tmp_path):
    repository = make_small_repository()
    repository.commit()
    for name in ("my pics (1)", "a,b=c", "日本 é", "a.zip?x=1&y=2", "it's #1: {a} [b]", 'a "b"'):
        draw_sample(tmp_path / name, 2)
        quoted = str(tmp_path / name).replace("'", "\\'")
        change = ("-S", f"data_url='{quoted}'", "-S", "data_sha256=")
        assert ran(repository.dvc("exp", "run", *change, "download")) == ["download"]
        params = load_params(repository.folder / "params.yaml")
        assert (params.data_url, params.data_sha256) == (str(tmp_path / name), None)
        assert len(RawImages(repository.folder / "data/raw").names) == 4


def sweep(clone, *arguments):
    return clone.run(sys.executable, "-m", "scripts.sweep", "--name", "grid", *arguments)


def test_two_machines_share_a_sweep_also_if_a_worker_ends_early(repository, tmp_path):
    origin = tmp_path / "origin"
    repository.run("git", "clone", "-q", "--bare", ".", str(origin))
    other = repository.clone(tmp_path / "other")
    for clone in (repository, other):
        clone.run("git", "remote", "add", "origin", str(origin))
        clone.dvc("remote", "add", "--local", "--default", "team", str(tmp_path / "team"))
    repository.dvc("push")
    other.dvc("pull")

    grid = ("--push", "origin", "fine_tune_at=choice(130,150,9999)", "fine_tune_epochs=1")
    with ThreadPoolExecutor() as pool:
        first = pool.submit(sweep, repository, *grid, "--part", "1/2", "--jobs", "2")
        second = pool.submit(sweep, other, *grid, "--part", "2/2")
        while "Running" not in repository.dvc("queue", "status"):
            assert not first.done()
        repository.dvc("queue", "stop")
        assert "1 points, best first by validation" in second.result().stdout
        assert "1 points, best first by validation" in first.result().stdout
    assert "failed: grid-3; `dvc queue logs grid-3` tells why" in first.result().stdout
    assert "received 9999" in repository.dvc("queue", "logs", "grid-3")
    assert set(experiments(other)) == {"grid-2"}

    repository.dvc("exp", "pull", "origin")
    assert "2 points, best first by validation" in sweep(repository).stdout
    folder = repository.folder / "sweeps/grid"
    rows = [line.strip("| ").split(" | ") for line in (folder / "table.md").read_text().split("\n")]
    columns, _, *points, _ = rows
    assert columns == [
        *("experiment", "fine_tune_at", "validation accuracy", "validation loss"),
        *("test accuracy", "trainable parameters", "seconds"),
    ]
    assert {point[1] for point in points} == {"130", "150"}
    assert all(re.fullmatch(r"0\.\d{3} \(0\.\d{3} to [01]\.\d{3}\)", point[4]) for point in points)
    by_name = {point[0]: point[6] for point in points}
    assert int(by_name["grid-1"]) > 0 and by_name["grid-2"] == "elsewhere"
    assert (folder / "accuracy.png").stat().st_size > 5_000


def test_the_table_has_what_changed_and_gathers_seeds_and_names_what_failed(repository):
    repository.dvc("exp", "run", "--temp", "--name", "seed-1", "-S", "seed=1")
    done = repository.run(sys.executable, "-m", "scripts.table", "--csv")
    rows = {row["experiment"]: row for row in csv.DictReader(done.stdout.splitlines())}
    assert {name: row["changed"] for name, row in rows.items()} == {
        "main seed-1": "",
        "both": "fine_tune_learning_rate=1e-06 fine_tune_at=140",
        "grid-1": "fine_tune_at=130",
        "grid-2": "fine_tune_at=150",
    }
    assert "table: failed: grid-3; `dvc queue logs NAME` tells why" in done.stderr
    assert (rows["main seed-1"]["seeds"], rows["main seed-1"]["low"]) == ("2", "")
    assert int(rows["grid-1"]["seconds"]) > 0 and rows["both"]["seconds"] == ""
    aligned = repository.run(sys.executable, "-m", "scripts.table").stdout
    assert "(2 seeds)" in aligned and max(map(len, aligned.splitlines())) <= 100


def test_a_run_that_ended_early_does_not_show_the_scores_of_the_commit(repository):
    change = ("-S", "head_learning_rate=0.01", "train_head")
    repository.dvc("exp", "run", "--temp", "--name", "head-only", *change)
    done = repository.run(sys.executable, "-m", "scripts.table", "--csv")
    assert "head-only" not in done.stdout
    assert "table: scores are older than parameters or models: head-only;" in done.stderr


def test_two_experiments_are_compared_on_the_test_images_they_share(repository):
    both = repository.run(sys.executable, "-m", "scripts.compare", "main", "both").stdout
    assert re.search(r"\d of 8 test images are right only with (main|both), \d only with ", both)
    other = repository.run(sys.executable, "-m", "scripts.compare", "main", "seed-1", check=False)
    assert "that have the same path and label in both" in other.stdout or "no test" in other.stderr


def test_a_branch_is_compared_with_main(repository):
    repository.dvc("exp", "branch", "both", "my-branch")
    params = repository.dvc("params", "diff", "main", "my-branch", "--md")
    assert "| params.yaml | fine_tune_at            | auto   | 140         |" in params
    assert "| params.yaml | fine_tune_learning_rate | auto   | 1e-06       |" in params
    metrics = json.loads(repository.dvc("metrics", "diff", "main", "my-branch", "--json"))
    change = metrics["metrics/fine_tune.json"]["trainable_parameters"]
    assert (change["old"], change["new"]) == (1_862_721, 1_041_281)


def test_a_pull_request_shows_what_it_changes(repository, tmp_path):
    workflow = yaml.safe_load((PROJECT / ".github/workflows/ci.yml").read_text())
    (script,) = [s["run"] for s in workflow["jobs"]["check"]["steps"] if "BASE" in s.get("env", {})]
    summary = tmp_path / "summary.md"
    settings = {"BASE": "main", "HEAD": "my-branch", "RAW": "https://host/o/r/raw"}
    settings["GITHUB_STEP_SUMMARY"] = str(summary)
    repository.run("env", *(f"{k}={v}" for k, v in settings.items()), "bash", "-ec", script)
    text = summary.read_text()
    assert re.search(r"params\.yaml \| fine_tune_at +\| auto +\| 140 ", text)
    assert re.search(r"fine_tune\.json +\| trainable_parameters +\| 1862721 +\| 1041281 ", text)
    plot = "plots/confusion_matrix.png)"
    row = f"![](https://host/o/r/raw/main/{plot} | ![](https://host/o/r/raw/my-branch/{plot} |"
    assert f"| confusion_matrix | {row}" in text


def test_plots_of_two_revisions_lie_over_and_beside_each_other(repository):
    plots = json.loads(repository.dvc("plots", "diff", "main", "my-branch", "--json"))["data"]
    for name in ("accuracy", "loss"):
        (curves,) = plots[name]
        points = curves["content"]["data"]["values"]
        assert {(p["rev"], p["field"]) for p in points} == {
            (rev, f"{prefix}{name}") for rev in ("main", "my-branch") for prefix in ("", "val_")
        }
        assert {int(p["epoch"]) for p in points} == {1, 2}
    (matrix,) = plots["confusion_matrix"]
    assert {p["rev"] for p in matrix["content"]["data"]["values"]} == {
        "main",
        "my-branch",
    }
    images = {name for name in plots if name.endswith(".png")}
    declared = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["plots"]
    assert images == {plot for plot in declared if isinstance(plot, str)}
    assert all([p["revisions"] for p in plots[n]] == [["main"], ["my-branch"]] for n in images)


def test_two_branches_that_changed_a_parameter_are_merged(repository):
    for name, change in (("alice", "fine_tune_at=120"), ("bob", "fine_tune_epochs=2")):
        repository.run("git", "checkout", "-q", "-b", name, "main")
        repository.dvc("checkout")
        repository.dvc("exp", "run", "-S", change)
        repository.commit(name)
    merge = repository.run("git", "merge", "alice", check=False)
    assert "CONFLICT (content): Merge conflict in dvc.lock" in merge.stdout
    (commands,) = re.findall(r"```sh\ngit merge alice.*?\n(.*?)```", TEAM, re.DOTALL)
    for command in commands.strip().split("\n"):
        repository.run("bash", "-c", command)
    assert "up to date" in repository.dvc("status")
    assert repository.run("git", "status", "--short").stdout == ""
    text = (repository.folder / "params.yaml").read_text()
    assert re.search(r"^fine_tune_at: 120 ", text, re.MULTILINE)
    assert re.search(r"^fine_tune_epochs: 2 ", text, re.MULTILINE)


def test_a_version_of_the_model_is_fetched_by_its_name(repository, tmp_path):
    repository.run("git", "checkout", "-q", "main")
    repository.dvc("checkout")
    repository.run("gto", "register", "classifier", "--version", "v1.0.0")
    repository.dvc("remote", "add", "--default", "team", str(tmp_path / "store"))
    repository.dvc("push")
    repository.commit("remote")
    source = str(repository.folder)
    command = [sys.executable, "-m", "dvc", "artifacts", "get", source, "classifier"]
    done = subprocess.run([*command, "--rev", "v1.0.0"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr
    model = (repository.folder / "models/model.keras").read_bytes()
    assert (tmp_path / "model.keras").read_bytes() == model
