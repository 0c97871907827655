"""What the last digits of a result depend on: the CPU's instructions, not its model."""

import os
import subprocess
import sys

import pytest

from transfer.core.cpu import describe_cpu

LOADED = """
import transfer.core, scipy.linalg, threadpoolctl
found = threadpoolctl.threadpool_info()
print(*{each["architecture"] for each in found if each["internal_api"] == "openblas"})
"""
KERNELS = {"x86_64 with AVX-512": "SkylakeX", "x86_64 with AVX2": "Haswell"}


def kernels(**more):
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    command = [sys.executable, "-c", LOADED]
    return subprocess.check_output(command, env=environment | more, text=True).strip()


@pytest.mark.skipif(describe_cpu() not in KERNELS, reason="neither AVX2 nor AVX-512")
def test_openblas_computes_as_on_all_cpus_with_these_instructions():
    assert kernels() == KERNELS[describe_cpu()]


@pytest.mark.skipif(describe_cpu() not in KERNELS, reason="neither AVX2 nor AVX-512")
def test_kernels_named_in_the_environment_stay():
    assert kernels(OPENBLAS_CORETYPE="Sandybridge") == "Sandybridge"
