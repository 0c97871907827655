"""TensorFlow and Keras, set up once: every module that needs them imports them from here."""

import os

from transfer.core.console import quiet
from transfer.core.processes import are_several

# Each of these can be overridden from outside; TF_NUM_INTRAOP_THREADS is TensorFlow's own.
# oneDNN: on by default only on CPUs with AVX-512; halves a training step on those with AVX2.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Where a process of several is lost, C++ has many lines for what is said in one.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3" if are_several() else "2")
# If set, tf2onnx copies the graph, weights included, for none of its steps: 500 MB less, 2 s less.
CATCH_ERRORS = "TF2ONNX_CATCH_ERRORS"
os.environ.setdefault(CATCH_ERRORS, "FALSE")
# What the frozen layers run in on a CPU: onnxruntime, or tensorflow.
FROZEN_RUNTIME = os.environ.get("TRANSFER_FROZEN_RUNTIME", "onnxruntime")
# A GPU's memory as it is needed: several processes may be on it.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
# So many devices of the CPU, for strategy: mirrored to be tried without GPUs.
CPU_REPLICAS = int(os.environ.get("TRANSFER_CPU_REPLICAS", "1"))


with quiet():
    import tensorflow as tf
    import keras  # isort: skip

    if CPU_REPLICAS > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        devices = [tf.config.LogicalDeviceConfiguration()] * CPU_REPLICAS
        tf.config.set_logical_device_configuration(cpu, devices)
    if not are_several():  # these have to know of each other first (transfer/training/strategy.py)
        tf.zeros(1)  # starts the runtime, which has its own words

tf.config.experimental.enable_op_determinism()
keras.utils.set_random_seed(0)  # determinism asks for one; what is random takes its own seed

__all__ = ["CATCH_ERRORS", "FROZEN_RUNTIME", "keras", "tf"]
