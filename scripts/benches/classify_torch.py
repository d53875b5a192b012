# /// script
# dependencies = ["torch==2.13.0", "numpy"]
# ///
"""conv32-conv64-dense128 on 28x28x1, batch 128, Adam, in PyTorch: images resident as u8, batches drawn and normalised."""

import torch
from serve import options, serve_rate
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
    chosen = options(mode=("eager", "compile"), layout=("channels_first", "channels_last"), steps=40)
    torch.set_num_threads(chosen.cores)
    torch.manual_seed(0)
    format = torch.channels_last if chosen.layout == "channels_last" else torch.contiguous_format
    model = network().to(memory_format=format)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    images = torch.randint(0, 256, (EXAMPLES, 1, 28, 28), dtype=torch.uint8)
    labels = torch.randint(0, 10, (EXAMPLES,))
    forward = torch.compile(model) if chosen.mode == "compile" else model

    def step() -> None:
        drawn = torch.randint(0, EXAMPLES, (BATCH,))
        inputs = (images[drawn].float() / 255).to(memory_format=format)
        loss = nn.functional.cross_entropy(forward(inputs), labels[drawn])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def steps() -> None:
        for _ in range(chosen.steps):
            step()

    serve_rate("samples/s", chosen.steps * BATCH, steps, ("torch",))


if __name__ == "__main__":
    main()
