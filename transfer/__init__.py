"""Transfer learning for image classification: what the pipeline's stages share."""

import os

# Of a stage: DVC. Taken before all else, for DVC may be killed while TensorFlow loads.
PARENT = os.getppid()
