# /// script
# dependencies = ["torch==2.13.0", "numpy"]
# ///
"""conv32-conv64-dense128 on 28x28x1, batch 128, Adam, in PyTorch: images resident as u8, batches drawn and normalised."""

import argparse
import time

import torch
from serve import serve
from torch import nn

BATCH, EXAMPLES = 128, 10_240


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=("eager", "compile"), default="eager")
    parser.add_argument("--layout", choices=("channels_first", "channels_last"), default="channels_first")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(options.cores)
    torch.manual_seed(0)
    format = torch.channels_last if options.layout == "channels_last" else torch.contiguous_format
    model = network().to(memory_format=format)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    images = torch.randint(0, 256, (EXAMPLES, 1, 28, 28), dtype=torch.uint8)
    labels = torch.randint(0, 10, (EXAMPLES,))
    forward = torch.compile(model) if options.mode == "compile" else model

    def step() -> torch.Tensor:
        chosen = torch.randint(0, EXAMPLES, (BATCH,))
        inputs = (images[chosen].float() / 255).to(memory_format=format)
        loss = nn.functional.cross_entropy(forward(inputs), labels[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss

    def measure() -> dict[str, object]:
        begin = time.perf_counter()
        for _ in range(options.steps):
            step()
        rate = options.steps * BATCH / (time.perf_counter() - begin)
        return {"rate": rate, "unit": "samples/s", "versions": {"torch": torch.__version__}}

    serve(measure)


if __name__ == "__main__":
    main()
