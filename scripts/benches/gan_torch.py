# /// script
# dependencies = ["torch==2.13.0", "numpy"]
# ///
"""Dense GAN on 28x28 images, batch 128, in PyTorch: images resident as u8, batches drawn, an update of each net in turn."""

import torch
from serve import options, serve_rate
from torch import nn

BATCH, LATENT, EXAMPLES, TICKS = 128, 100, 10_240, 50


def nets() -> tuple[nn.Module, nn.Module]:
    generator = nn.Sequential(
        nn.Linear(LATENT, 256),
        nn.LeakyReLU(0.2),
        nn.Linear(256, 512),
        nn.LeakyReLU(0.2),
        nn.Linear(512, 784),
        nn.Tanh(),
    )
    discriminator = nn.Sequential(
        nn.Linear(784, 512),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.3),
        nn.Linear(512, 256),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.3),
        nn.Linear(256, 1),
    )
    return generator, discriminator


def main() -> None:
    chosen = options(mode=("eager", "compile"), fused=False)  # fused: Adam's own fused update
    torch.set_num_threads(chosen.cores)
    torch.manual_seed(0)
    generator, discriminator = nets()
    first, second = (
        torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=chosen.fused or None)
        for net in (generator, discriminator)
    )
    images = torch.randint(0, 256, (EXAMPLES, 784), dtype=torch.uint8)
    softplus = nn.functional.softplus

    def discriminator_loss(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        return softplus(-discriminator(real)).mean() + softplus(discriminator(fake)).mean()

    def generator_loss(latent: torch.Tensor) -> torch.Tensor:
        return softplus(-discriminator(generator(latent))).mean()

    if chosen.mode == "compile":
        discriminator_loss, generator_loss = torch.compile(discriminator_loss), torch.compile(generator_loss)

    def step() -> None:
        real = images[torch.randint(0, EXAMPLES, (BATCH,))].float() / 127.5 - 1
        with torch.no_grad():
            fake = generator(torch.randn(BATCH, LATENT))
        second.zero_grad(set_to_none=True)
        discriminator_loss(real, fake).backward()
        second.step()
        # The generator's gradient goes through the discriminator, whose own is not needed.
        discriminator.requires_grad_(False)
        first.zero_grad(set_to_none=True)
        generator_loss(torch.randn(BATCH, LATENT)).backward()
        first.step()
        discriminator.requires_grad_(True)

    def steps() -> None:
        for _ in range(TICKS):
            step()

    serve_rate("updates/s", TICKS, steps, ("torch",))


if __name__ == "__main__":
    main()
