"""What tests share; a module per subject. Whoever needs Keras as well imports this first."""

import os

# Starts the frozen layers in a tenth of the time. The default runtime is tested by
# models/test_frozen.py, training/test_views.py, project/test_portable.py and on the real images.
os.environ.setdefault("TRANSFER_FROZEN_RUNTIME", "tensorflow")
