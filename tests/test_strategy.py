"""Replicas that share out each batch come to what one device comes to."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import PROJECT
from several import train

from transfer.launch import environments_here


def start(out, strategy, **environment):
    path = os.pathsep.join((str(PROJECT), str(PROJECT / "tests")))
    return subprocess.Popen(
        [sys.executable, PROJECT / "tests/several.py", strategy, out],
        env=os.environ | {"PYTHONPATH": path} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def result(out, name):
    """Return history and weights that several.py left."""
    with np.load(f"{out}-{name}.npz") as saved:
        return saved["arr_0"], [saved[f"arr_{i}"] for i in range(1, len(saved.files))]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Train in two processes, then on two devices; return where the results are."""
    folder, environments = tmp_path_factory.mktemp("several"), environments_here(2)
    outs = [str(folder / name) for name in ("first", "second", "mirrored")]
    workers = [
        start(out, "auto", **environment)
        for out, environment in zip(outs, environments, strict=False)
    ]
    for process in workers:
        assert process.wait(timeout=120) == 0, process.stdout.read()
    mirrored = start(outs[2], "auto", TRANSFER_CPU_REPLICAS="2")
    assert mirrored.wait(timeout=120) == 0, mirrored.stdout.read()
    return outs


@pytest.mark.parametrize("name", ["plain", "random"])
def test_weights_are_the_same_to_the_bit_in_both_processes(results, name):
    first, second, _ = results
    for one, other in zip(result(first, name)[1], result(second, name)[1], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("index", [0, 2])
def test_two_replicas_come_to_what_one_device_does(results, index):
    history, weights = result(results[index], "plain")
    expected_history, expected = train()
    np.testing.assert_allclose(history, expected_history, rtol=5e-6)
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6)


def test_dropout_differs_and_all_else_works_with_it(results):
    (history, weights), (mirrored, _) = (result(results[i], "random") for i in (0, 2))
    assert np.isfinite(history).all() and len(history) >= 2
    assert not np.allclose(history[:, 1:], mirrored[:, 1:], atol=1e-4)
    plain = result(results[0], "plain")[1]
    assert any(not np.allclose(*pair, atol=1e-4) for pair in zip(weights, plain, strict=True))
