"""TensorFlow and Keras, set up once. All other modules import them from here."""

import os

from transfer.core.console import quiet
from transfer.core.processes import are_several

# The environment may set each of these; TF_NUM_INTRAOP_THREADS is read by TensorFlow itself.
# oneDNN is on by default only on CPUs with AVX-512; it halves a training step on those with AVX2.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# When one of several processes is lost, TensorFlow's C++ code prints many lines about it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3" if are_several() else "2")
# FALSE: tf2onnx doesn't copy the graph with its weights before each step; saves 500 MB and 2 s.
CATCH_ERRORS = "TF2ONNX_CATCH_ERRORS"
os.environ.setdefault(CATCH_ERRORS, "FALSE")
# Allocate a GPU's memory as it is needed, since several processes may share the GPU.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
# Logical devices of the CPU: several let the strategy `mirrored` be tried without GPUs.
CPU_REPLICAS = int(os.environ.get("TRANSFER_CPU_REPLICAS", "1"))


with quiet():
    import tensorflow as tf
    import keras  # isort: skip

    if CPU_REPLICAS > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        devices = [tf.config.LogicalDeviceConfiguration()] * CPU_REPLICAS
        tf.config.set_logical_device_configuration(cpu, devices)
    if not are_several():  # several have to connect first (transfer/training/strategy.py)
        tf.zeros(1)  # starts the runtime, which prints messages

tf.config.experimental.enable_op_determinism()
keras.utils.set_random_seed(0)  # determinism requires one; whatever is random has its own seed

__all__ = ["CATCH_ERRORS", "keras", "tf"]
