"""Take backbones of many families through the whole pipeline and the export, on the sample.

python -m benchmarks.backbones [BACKBONE …]

Random weights but for MobileNetV2: it shows that each works, not how good it is.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks import report
from benchmarks.common import PROJECT, measure, project_copy, save_results

FAMILIES = (
    *("MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0", "ConvNeXtTiny"),
    *("ResNet50", "DenseNet121", "NASNetMobile"),
)
STAGES = ("download", "split", "features", "train_head", "fine_tune", "evaluate", "plot")
SETTING = {"data_url": "sample", "image_size": 72, "head_epochs": 1, "fine_tune_epochs": 1}


def main() -> None:
    for backbone in sys.argv[1:] or FAMILIES:
        row = {backbone: try_backbone(backbone)}
        report.write(save_results({"backbones": save_results({}).get("backbones", {}) | row}))


def try_backbone(backbone: str) -> dict:
    """Return what the pipeline and the export made of a backbone."""
    layers, parameters = size_of(backbone)
    weights = "imagenet" if backbone == "MobileNetV2" else "random"
    middle = {"backbone": backbone, "base_weights": weights, "fine_tune_at": layers // 2}
    with project_copy(**SETTING, **middle) as folder:
        peaks = [measure([sys.executable, "-m", f"stages.{name}"], folder)[1] for name in STAGES]
        shutil.copytree(PROJECT / "scripts", folder / "scripts")
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
    """Return the number of layers and of parameters."""
    from transfer.models.backbones import build_base

    base = build_base(backbone, SETTING["image_size"])
    return len(base.layers), base.count_params()


def export(folder: Path) -> str:
    """Return the largest difference that a float format's probabilities have from Keras', or why
    the export ended."""
    done = subprocess.run(
        [sys.executable, "-m", "scripts.export"], cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        return done.stderr.strip().splitlines()[-1].removeprefix("error: ")
    rows = [row.split(" | ") for row in done.stdout.splitlines() if row.startswith("| ")]
    return f"{max(float(row[2]) for row in rows[3:] if 'int8' not in row[0]):.0g}"


if __name__ == "__main__":
    main()
