"""What the parameter `base_weights` may name."""

import os
from pathlib import Path

from transfer.core.errors import UserError
from transfer.core.files import refuse_output
from transfer.download import fetch

SIZES = (96, 128, 160, 192, 224)  # of the images that Keras' checkpoints were trained on


def check_base_weights(base_weights: str, backbone: str) -> None:
    """Check what can be known of `base_weights` before any work.

    Raises:
        UserError: It is an unknown `imagenet-…`, or a path without a file.
    """
    sizes = SIZES if backbone == "MobileNetV2" else ()
    known = ["imagenet", *(f"imagenet-{size}" for size in sizes), "random"]
    if base_weights in known or fetch.is_url(base_weights):
        return
    path = Path(os.path.expanduser(base_weights))
    refuse_output(path, "base_weights")
    if not path.is_file():
        raise UserError(
            f"base_weights: expected one of {', '.join(known)}, a URL, or the path of an .h5 file "
            f"(absolute, so that `dvc exp run --temp` finds it too); received {base_weights!r}"
        )
