# /// script
# dependencies = ["torch==2.13.0", "numpy"]
# ///
"""nanoGPT's CPU setting in PyTorch: 4 layers of 4 heads, 128 wide, context 64, batch 12, 65 characters, AdamW."""

import torch
from serve import options, serve_rate
from torch import nn
from torch.nn import functional

LAYERS, HEADS, WIDTH, CONTEXT, BATCH, CHARACTERS = 4, 4, 128, 64, 12, 65


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)); no biases."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH, bias=False) for _ in range(2))
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.up = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.down = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        parts = self.qkv(self.norms[0](x)).split(WIDTH, dim=2)
        q, k, v = (part.view(batch, length, HEADS, -1).transpose(1, 2) for part in parts)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.down(functional.gelu(self.up(self.norms[1](x))))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(CHARACTERS, WIDTH)
        self.positions = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*[Block() for _ in range(LAYERS)])
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.02)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        x = self.tokens(crops[:, :-1]) + self.positions.weight
        logits = self.norm(self.blocks(x)) @ self.tokens.weight.T
        return functional.cross_entropy(logits.reshape(-1, CHARACTERS), crops[:, 1:].reshape(-1))


def main() -> None:
    chosen = options(mode=("eager", "compile"), fused=False, steps=60)  # fused: AdamW as one operation
    torch.set_num_threads(chosen.cores)
    torch.manual_seed(0)
    model = Model()
    forward = torch.compile(model) if chosen.mode == "compile" else model
    weights = list(model.parameters())
    kinds = [
        {"params": [w for w in weights if (w.dim() > 1) == decays], "weight_decay": 0.1 * decays} for decays in (1, 0)
    ]
    optimizer = torch.optim.AdamW(kinds, lr=1e-3, betas=(0.9, 0.99), fused=chosen.fused)
    text = torch.randint(0, CHARACTERS, (1_003_854,))

    def step() -> None:
        starts = torch.randint(0, len(text) - CONTEXT, (BATCH,)).tolist()
        loss = forward(torch.stack([text[i : i + CONTEXT + 1] for i in starts]))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()

    def steps() -> None:
        for _ in range(chosen.steps):
            step()

    serve_rate("tokens/s", chosen.steps * BATCH * CONTEXT, steps, ("torch",))


if __name__ == "__main__":
    main()
