"""A folder of one's own, which DVC watches."""

import csv
import shutil

import pytest

from tests.helpers.repository import SMALL, Repository, ran


def paths(repository):
    with (repository.folder / "data/split/manifest.csv").open(newline="") as file:
        return {row["path"] for row in csv.DictReader(file)}


def restore(repository):
    repository.run("git", "checkout", "-q", ".")
    repository.dvc("checkout", "--allow-missing", "--force")


@pytest.fixture(scope="module")
def repository(tmp_path_factory, small_archive):
    folder = tmp_path_factory.mktemp("own")
    shutil.unpack_archive(small_archive, folder / "my pictures")
    repository = Repository(folder / "repository")
    repository.add_project()
    repository.set_params(**SMALL, own_images=str(folder / "my pictures"))
    repository.dvc("init", "--force")
    repository.commit()
    assert ran(repository.dvc("repro", "split")) == ["download", "split"]
    repository.commit()
    return repository


@pytest.fixture
def pictures(repository):
    folder = repository.folder.parent / "my pictures"
    (top,) = folder.iterdir()
    return top


def test_what_was_changed_in_the_folder_is_seen_and_used(repository, pictures):
    first = paths(repository)
    assert "up to date" in repository.dvc("status", "download", "split")

    one, other = sorted(pictures.rglob("cats/*.jpg"))[:2]
    kept = one.read_bytes()
    one.unlink()
    other.rename(other.with_name("renamed.jpg"))
    assert "my pictures" in repository.dvc("status", "download")
    assert ran(repository.dvc("repro", "split")) == ["download", "split"]
    assert {"cats/renamed.jpg"} == {path for path in paths(repository) - first}

    one.write_bytes(kept)
    other.with_name("renamed.jpg").rename(other)
    repository.dvc("repro", "split")
    assert paths(repository) == first
    assert not list(repository.folder.glob("data/raw.kept-*"))
    assert "up to date" in repository.dvc("status", "download", "split")


@pytest.mark.slow
def test_an_unwatched_folder_is_what_it_holds_now_in_later_runs_too(repository, pictures):
    """DVC must not bring back what a folder held when the parameters were the same before."""
    repository.set_params(own_images="data/none", data_url=str(pictures))
    output = repository.dvc("repro", "split")
    assert f"DVC does not watch {pictures}; `own_images: {pictures}` makes it" in output
    repository.set_params(data_url="sample")
    repository.dvc("repro", "split")
    shutil.copy(sorted(pictures.rglob("dogs/*.jpg"))[0], pictures / "dogs/zz copy.jpg")
    repository.set_params(data_url=str(pictures))
    repository.dvc("repro", "split")
    assert (repository.folder / "data/raw/dogs/zz copy.jpg").exists()
    (pictures / "dogs/zz copy.jpg").unlink()
    restore(repository)


@pytest.mark.slow
def test_shared_images_are_watched_in_an_experiment_in_a_temporary_copy(repository, pictures):
    shutil.copytree(pictures, repository.folder / "pictures")
    repository.dvc("add", "pictures")
    repository.commit()
    change = ("exp", "run", "--temp", "-S", "own_images=pictures", "split")
    assert "download" in ran(repository.dvc(*change))
    repository.dvc("exp", "run", "-S", "own_images=pictures", "split")
    next((repository.folder / "pictures/dogs").iterdir()).unlink()
    assert "modified:           pictures" in repository.dvc("status", "download")
    restore(repository)


@pytest.mark.parametrize("value", ["data/raw", "models/base.weights.h5"])
@pytest.mark.slow
def test_an_output_is_no_source_and_stays(repository, value):
    output = repository.folder / ("models/base.weights.h5" if "h5" in value else "data/raw")
    before = sorted(output.rglob("*")) or output.read_bytes()
    name = "base_weights" if "h5" in value else "data_url"
    repository.set_params(own_images="data/none", **{name: value})
    message = repository.dvc("repro", "download", check=False)
    assert f"{name}: expected a path outside of what the pipeline writes" in message
    assert (sorted(output.rglob("*")) or output.read_bytes()) == before
    restore(repository)


def test_dvc_itself_refuses_an_output_as_the_folder_to_watch(repository):
    repository.set_params(own_images="data/raw")
    assert "both a dependency and an output" in repository.dvc("repro", check=False)
    assert any((repository.folder / "data/raw").iterdir())
    restore(repository)
