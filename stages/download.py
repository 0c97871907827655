"""Fetch the images and the ImageNet weights of the base; verify both."""

from pathlib import Path

from transfer.core.errors import printable
from transfer.core.files import BASE_WEIGHTS, GROUPS, GROUPS_COLUMNS, LEFT_OUT, RAW, write_csv
from transfer.core.params_file import load_params
from transfer.core.processes import read_launch
from transfer.core.stage import run_stage
from transfer.data.find import LeftOut
from transfer.data.labels import Rejected, label_images, summary
from transfer.data.raw import RawImages
from transfer.download.acquire import (
    KNOWN_CONTENT,
    acquire_images,
    check_data_url,
    content_sha256,
    errors_about,
    source_of,
)
from transfer.download.aside import kept_if_changed
from transfer.download.base_weights import check_base_weights

WEIGHTS_SIZE = 224  # any would do for the convolutions; the file must not depend on image_size


def main() -> None:
    params = load_params()
    read_launch()  # refuse a mistake for train_head here, before any work
    check_base_weights(params.base_weights, params.backbone)
    parameter, source = source_of(params)
    with errors_about(parameter):
        check_data_url(source)

    fetch_weights(params.backbone, params.base_weights)
    with errors_about(parameter), kept_if_changed(RAW):
        left_out, groups = acquire_images(source, params.data_sha256, RAW)
    write_csv(GROUPS, GROUPS_COLUMNS, sorted(groups.items()))
    write_csv(LEFT_OUT, Rejected._fields, sorted(left_out.rejected))

    with errors_about(parameter):
        images = label_images(RawImages(RAW).names)
    classes = images.class_names
    if parameter == "data_url" and Path(source).expanduser().exists():
        print(f"download: DVC does not watch {source}; `own_images: {source}` makes it")
    print(
        f"download: {len(images.paths):,} images of {len(classes)} classes "
        f"({', '.join(classes[:10])}{', …' if len(classes) > 10 else ''}), "
        f"weights of {params.backbone}: {params.base_weights}"
    )
    report(left_out)
    if not params.data_sha256 and source not in {"sample", *KNOWN_CONTENT}:
        print(f"download: not verified; `data_sha256: {content_sha256(RAW)}` pins these images")


def fetch_weights(backbone: str, base_weights: str) -> None:
    """Fetch the weights of the base and save them.

    Args:
        backbone: Its name.
        base_weights: The parameter of that name.
    """
    from transfer.download.weights import load_base_weights, save_base_weights
    from transfer.models.backbones import build_base  # TensorFlow loads here, after the checks

    base = build_base(backbone, WEIGHTS_SIZE)
    load_base_weights(base, base_weights, backbone)
    save_base_weights(base, BASE_WEIGHTS)


def report(left_out: LeftOut) -> None:
    """Print how much of what was found is not used."""
    for line in summary(left_out.rejected):
        print(f"download: left out {line}")
    if left_out.rejected:
        print(f"download: {LEFT_OUT} lists them all")
    if left_out.hidden:
        print(
            f"download: left out {len(left_out.hidden):,} hidden files and folders, or those of "
            f"systems, the first {printable(min(left_out.hidden))}"
        )


if __name__ == "__main__":
    run_stage(main)
