"""Time the same two trainings in PyTorch: python3 benchmarks/pytorch.py RESULT [--size 160].

It runs where PyTorch and torchvision are installed, such as Debian's python3-torch and
python3-torchvision; `python -m benchmarks.peer PYTHON` compares it with ours. Written as one would
for speed on a CPU: channels last, BatchNorm in inference mode, no gradient below the layers that
train. The pixels are in memory, and the only augmentation is a flip, so that all that is timed is
the network.
"""

import argparse
import json
import statistics
import time

import torch
import torchvision

BATCH_SIZE, BATCHES, ROUNDS = 32, 20, 3
FIRST_BLOCK = 12  # Keras calls it block_11; its first convolution is layer 98, its last one 104


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result")
    parser.add_argument("--size", type=int, default=160)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    features = torchvision.models.mobilenet_v2().features.eval()
    features = features.to(memory_format=torch.channels_last)
    head = torch.nn.Linear(1280, 1)
    shape = BATCHES, BATCH_SIZE, 3, arguments.size, arguments.size
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
    labels = torch.randint(0, 2, (BATCHES, BATCH_SIZE, 1)).float()
    frozen, live = features[:FIRST_BLOCK], features[FIRST_BLOCK:]
    timed = {
        "head": epoch(features, torch.nn.Identity(), head, pixels, labels),
        "fine_tune": epoch(frozen, live, head, pixels, labels),
    }
    timed |= {"torch": torch.__version__, "threads": torch.get_num_threads()}
    with open(arguments.result, "w") as file:
        json.dump(timed, file)


def epoch(
    frozen: torch.nn.Module,
    live: torch.nn.Module,
    head: torch.nn.Module,
    pixels: torch.Tensor,
    labels: torch.Tensor,
) -> float:
    """Return the ms per image of training, the median of some rounds over all batches."""
    optimizer = torch.optim.Adam([*live.parameters(), *head.parameters()], 1e-4)
    loss_of, seconds = torch.nn.BCEWithLogitsLoss(), []
    for _ in range(1 + ROUNDS):
        started = time.perf_counter()
        for batch, targets in zip(pixels, labels, strict=True):
            with torch.no_grad():
                images = batch.float().div_(127.5).sub_(1)
                images = images.contiguous(memory_format=torch.channels_last).flip(3)
                maps = frozen(images)
            loss = loss_of(head(live(maps).mean((2, 3))), targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds[1:]) / (BATCHES * BATCH_SIZE)


if __name__ == "__main__":
    main()
