"""Replicas that share each batch get the result of one device."""

import os
import subprocess
import sys
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import pytest

from tests.helpers.project import PROJECT
from tests.helpers.several import train
from transfer.core.errors import UserError
from transfer.core.processes import Launch
from transfer.training.launchers import environments_here
from transfer.training.strategy import Replicas, build_replicas

CPUS = {"TRANSFER_CPU_REPLICAS": "2"}


def start(out, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.several", out],
        cwd=PROJECT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@lru_cache
def on_one_device():
    return train()


def result(out, name):
    """Return the history and the weights that tests.helpers.several wrote."""
    with np.load(f"{out}-{name}.npz") as saved:
        return saved["arr_0"], [saved[f"arr_{i}"] for i in range(1, len(saved.files))]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Train in two processes, then on two devices; return where the results are."""
    folder, environments = tmp_path_factory.mktemp("several"), environments_here(2)
    outs = [str(folder / name) for name in ("first", "second", "mirrored")]
    for group in ([(outs[0], environments[0]), (outs[1], environments[1])], [(outs[2], CPUS)]):
        for process in [start(out, **environment) for out, environment in group]:
            said, _ = process.communicate(timeout=300)
            assert process.returncode == 0, said
    return outs


@pytest.mark.parametrize("name", ["plain", "random"])
def test_weights_are_the_same_to_the_bit_in_both_processes(results, name):
    first, second, _ = results
    for one, other in zip(result(first, name)[1], result(second, name)[1], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("index", [0, 2])
def test_two_replicas_get_the_result_of_one_device(results, index):
    history, weights = result(results[index], "plain")
    expected_history, expected = on_one_device()
    np.testing.assert_allclose(history, expected_history, rtol=5e-6)
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6)


def test_dropout_differs_between_replicas_and_all_options_work(results):
    (history, weights), (mirrored, _) = (result(results[i], "random") for i in (0, 2))
    assert np.isfinite(history).all() and len(history) >= 2
    assert not np.allclose(history[:, 1:], mirrored[:, 1:], atol=1e-4)
    plain = result(results[0], "plain")[1]
    assert any(not np.allclose(*pair, atol=1e-4) for pair in zip(weights, plain, strict=True))


@pytest.mark.parametrize(("workers", "local"), [(1, 2), (2, 1), (3, 1), (2, 2)])
def test_every_image_of_a_batch_counts_once(workers, local):
    strategy = SimpleNamespace(num_replicas_in_sync=workers * local)
    for image_count in range(1, 10):
        shards = [Replicas(strategy, w, workers).shard(image_count) for w in range(workers)]
        counts = np.zeros(image_count)
        for indices, weights in shards:
            assert len(indices) == -(-image_count // (workers * local)) * local
            np.add.at(counts, indices, weights)
        np.testing.assert_allclose(counts, 1 / image_count, rtol=1e-6)


def build(strategy):
    return build_replicas(Launch(strategy=strategy))


@pytest.mark.parametrize(
    ("strategy", "config", "message"),
    [
        ("mirrored", "", "mirrored needs several GPUs; found one device"),
        ("multi_worker", "", "multi_worker needs several processes: set TRANSFER_LAUNCHER"),
        (
            "one",
            environments_here(2)[1]["TF_CONFIG"],
            "expected auto or multi_worker, .* received one, which is for one process",
        ),
        ("auto", "{", "TF_CONFIG: expected a value such as .*; received '{'"),
        ("auto", '{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}', "TF_CONFIG"),
    ],
)
def test_an_impossible_strategy_is_refused_before_any_work(monkeypatch, strategy, config, message):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UserError, match=message):
        build(strategy)


def test_one_device_has_no_replicas():
    assert build("auto") is None and build("one") is None
