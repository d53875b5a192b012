"""Makes transformer_reference.npz: PyTorch's own attention, Transformer layers, layer norm, LSTM and GRU, with gradients.

pip install torch==2.13.0 numpy && python tests/parity/make_transformer_reference.py
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

WIDTH, HEADS, HIDDEN = 8, 2, 12
BATCH, LENGTH, SOURCE = 3, 5, 4
LENGTHS = [4, 1, 3]  # of the source; what is behind them is padding


def record(arrays: dict, name: str, module: nn.Module, run, **inputs: torch.Tensor) -> None:
    """Adds what `run` gives, and the gradients of its product with fixed numbers."""
    for key, parameter in module.named_parameters():
        nn.init.normal_(parameter, std=0.5)  # no weight at 1 and no bias at 0, where a mistake would not show
        if key == "bias_hh_l0":  # of two biases that are only added, ours is the first
            nn.init.zeros_(parameter[: 2 * HIDDEN] if isinstance(module, nn.GRU) else parameter)
    for x in inputs.values():
        x.requires_grad_()
    output = run(**inputs)
    towards = torch.randn_like(output)
    (output * towards).sum().backward()
    found = {"output": output, "towards": towards}
    for key, x in (*inputs.items(), *module.named_parameters()):
        found |= {key: x, f"{key}.gradient": x.grad}
    arrays |= {f"{name}/{key}": x.detach().numpy() for key, x in found.items()}


def main() -> None:
    torch.manual_seed(0)
    arrays: dict = {}
    x = lambda: torch.randn(BATCH, LENGTH, WIDTH)
    memory = lambda: torch.randn(BATCH, SOURCE, WIDTH)
    causal = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
    padding = torch.arange(SOURCE)[None] >= torch.tensor(LENGTHS)[:, None]

    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    run = lambda x: attention(x, x, x, attn_mask=causal)[0]
    record(arrays, "causal", attention, run, x=x())
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    run = lambda x, memory: attention(x, memory, memory, key_padding_mask=padding)[0]
    record(arrays, "cross", attention, run, x=x(), memory=memory())
    norm = nn.LayerNorm(WIDTH)
    record(arrays, "norm", norm, norm, input=x())

    for order in ("pre", "post"):
        for activation in ("relu", "gelu"):
            options = {"dropout": 0.0, "activation": activation, "batch_first": True, "norm_first": order == "pre"}
            encoder = nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, **options)
            run = lambda x, encoder=encoder: encoder(x, src_key_padding_mask=padding)
            record(arrays, f"encoder-{order}-{activation}", encoder, run, x=memory())
            decoder = nn.TransformerDecoderLayer(WIDTH, HEADS, HIDDEN, **options)
            masks = {"tgt_mask": causal, "memory_key_padding_mask": padding}
            run = lambda x, memory, decoder=decoder, masks=masks: decoder(x, memory, **masks)
            record(arrays, f"decoder-{order}-{activation}", decoder, run, x=x(), memory=memory())

    steps = torch.randn(LENGTH, BATCH, WIDTH)
    hidden = lambda: torch.randn(1, BATCH, HIDDEN)
    rnn = nn.RNN(WIDTH, HIDDEN)
    record(arrays, "elman", rnn, lambda x, hidden: rnn(x, hidden)[0], x=steps.clone(), hidden=hidden())
    gru = nn.GRU(WIDTH, HIDDEN)
    record(arrays, "gru", gru, lambda x, hidden: gru(x, hidden)[0], x=steps.clone(), hidden=hidden())
    lstm = nn.LSTM(WIDTH, HIDDEN)
    run = lambda x, hidden, cell: lstm(x, (hidden, cell))[0]
    record(arrays, "lstm", lstm, run, x=steps.clone(), hidden=hidden(), cell=hidden())

    path = Path(__file__).with_name("transformer_reference.npz")
    np.savez_compressed(path, lengths=np.array(LENGTHS, np.int32), **arrays)


if __name__ == "__main__":
    main()
