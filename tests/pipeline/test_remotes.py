"""A team shares results through a remote: pushed from one clone, pulled into another."""

import hashlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.helpers.project import PROJECT
from tests.helpers.repository import Repository, ran
from tests.helpers.servers import REMOTES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=REMOTES)
def remote(request, tmp_path_factory):
    with REMOTES[request.param](tmp_path_factory.mktemp(request.param)) as remote:
        yield remote


@pytest.fixture(scope="module")
def pushed(repository, remote):
    """Return the clone that pushed everything."""
    remote.configure(repository)
    repository.dvc("push")
    repository.commit("remote")
    return repository


@pytest.fixture
def colleague(pushed, remote, tmp_path):
    """Return a fresh clone with the colleague's own secrets, and nothing pulled yet."""
    clone = pushed.clone(tmp_path)
    remote.add_secrets(clone, remote.secrets)
    return clone


def test_a_colleague_gets_the_same_bytes_and_can_use_the_model(pushed, colleague):
    colleague.dvc("pull")
    assert colleague.hashes() == pushed.hashes()
    assert ran(colleague.dvc("repro")) == []
    scores = colleague.folder / "metrics/evaluate.json"
    before = scores.read_bytes()
    scores.unlink()
    colleague.run(sys.executable, "-m", "stages.evaluate")
    assert scores.read_bytes() == before
    assert colleague.run("git", "status", "--short").stdout == ""


def test_damaged_objects_are_named_and_pushed_anew(pushed, remote, colleague):
    model = pushed.hashes()["models/model.keras"]
    shard = min((pushed.folder / "data/split/images").iterdir())
    images = hashlib.md5(shard.read_bytes()).hexdigest()
    damaged = [n for n in remote.objects() if n.replace("/", "").endswith((model, images))]
    assert len(damaged) == 2
    for name in damaged:
        remote.damage(name)
    named = colleague.dvc("pull", check=False).split("failed for following targets:\n")[1]
    assert set(named.splitlines()[:2]) == {"data/split", "models/model.keras"}
    assert not (colleague.folder / "models/model.keras").exists()
    remote.move(pushed)
    pushed.dvc("push")
    pushed.commit("remote moved")
    colleague.run("git", "pull", "-q", str(pushed.folder), "main")
    colleague.dvc("pull")
    assert ran(colleague.dvc("repro")) == []


def test_wrong_credentials_are_refused(pushed, remote, tmp_path):
    if not remote.wrong:
        pytest.skip("a folder asks for no credentials")
    clone = pushed.clone(tmp_path)
    remote.add_secrets(clone, remote.wrong)
    done = clone.run(sys.executable, "-m", "dvc", "pull", check=False)
    assert done.returncode
    assert re.search(remote.message, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert not (clone.folder / "models/model.keras").exists()


def test_secrets_stay_out_of_git(pushed, remote):
    tracked = pushed.run("git", "grep", "-I", "-e", "", "HEAD").stdout
    for secret in set(remote.secrets.values()) - {"team"}:
        assert secret not in tracked


def test_a_push_killed_half_way_is_completed_by_the_next(remote, tmp_path):
    owner, contents = Repository(tmp_path / "owner"), {}
    owner.dvc("init", "-q")
    for name, size in (("large", 200_000_000), ("a", 1000), ("b", 1000), ("c", 1000)):
        contents[name] = np.random.default_rng(len(contents)).bytes(size)
        (owner.folder / name).write_bytes(contents[name])
    owner.dvc("add", *contents)
    remote.configure(owner)
    owner.commit()
    before = set(remote.objects())
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", "push", "-j", "1"], cwd=owner.folder
    ) as push:
        while push.poll() is None and not remote.receiving(10_000_000, before):
            time.sleep(0.002)
        push.kill()
    assert push.returncode == -signal.SIGKILL

    owner.dvc("push")
    colleague = owner.clone(tmp_path / "colleague")
    remote.add_secrets(colleague, remote.secrets)
    if remote.keeps_cut_uploads:
        assert "large" in colleague.dvc("pull", check=False).split("failed for following")[1]
        remote.move(owner)
        owner.dvc("push")
        owner.commit("remote moved")
        colleague.run("git", "pull", "-q", str(owner.folder), "main")
    colleague.dvc("pull")
    assert all((colleague.folder / name).read_bytes() == contents[name] for name in contents)


def test_the_guide_names_the_clients_that_are_tested():
    guide = (PROJECT / "docs/team.md").read_text()
    pins = (PROJECT / "tests/requirements.txt").read_text()
    clients = re.findall(r"pip install (dvc-\S+)", guide)
    assert len(clients) == 3
    assert all(f"\n{client}\n" in pins for client in clients)
