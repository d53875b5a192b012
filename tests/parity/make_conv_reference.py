"""Makes conv_reference.npz: LeNet of PyTorch's own layers on 8x8 images, its logits, loss and gradients.

pip install torch==2.13.0 numpy && python tests/parity/make_conv_reference.py
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

BATCH, SMOOTHING = 6, 0.1


class LeNet(nn.Module):
    """After research.models.cnn.NETS["lenet"]: padded 5x5 convolutions with 6 and 16 features, dense 120 and 84."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_0 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv_1 = nn.Conv2d(6, 16, 5, padding=2)
        self.dense_0 = nn.Linear(2 * 2 * 16, 120)
        self.dense_1 = nn.Linear(120, 84)
        self.dense_2 = nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv in (self.conv_0, self.conv_1):
            x = F.max_pool2d(F.relu(conv(x)), 2)
        x = x.permute(0, 2, 3, 1).flatten(1)  # channels last before flattening, as in our net
        x = F.relu(self.dense_0(x))
        return self.dense_2(F.relu(self.dense_1(x)))


def main() -> None:
    torch.manual_seed(0)
    model = LeNet()
    images = torch.randn(BATCH, 1, 8, 8)
    images[0] = 0  # every window a tie, as on a blank background
    labels = torch.arange(BATCH)
    images.requires_grad_()
    logits = model(images)
    loss = F.cross_entropy(logits, labels, label_smoothing=SMOOTHING)
    loss.backward()
    arrays = {"images": images, "labels": labels.int(), "logits": logits, "loss": loss, "images.gradient": images.grad}
    for name, parameter in model.named_parameters():
        arrays |= {name: parameter, f"{name}.gradient": parameter.grad}
    path = Path(__file__).with_name("conv_reference.npz")
    np.savez_compressed(path, smoothing=SMOOTHING, **{name: x.detach().numpy() for name, x in arrays.items()})


if __name__ == "__main__":
    main()
