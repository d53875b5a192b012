"""Our layers with PyTorch's weights give PyTorch's outputs and gradients (made by make_transformer_reference.py)."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.models.attention import padding_mask
from research.models.rnn import GRU, LSTM, Elman, outputs
from research.models.transformer import Attention, Block, Normalization, Shape

SHAPE = Shape(width=8, heads=2, layers=1, hidden=12)


@pytest.fixture(scope="module")
def reference():
    with np.load(Path(__file__).with_name("transformer_reference.npz")) as arrays:
        return dict(arrays)


def part(reference, name):
    """What was recorded of one layer, and the same of the gradients."""
    found = {key.removeprefix(f"{name}/"): x for key, x in reference.items() if key.startswith(f"{name}/")}
    return found, {key.removesuffix(".gradient"): x for key, x in found.items() if key.endswith(".gradient")}


def linear(kernel, bias):
    return {"kernel": kernel.T, "bias": bias}  # PyTorch keeps [out,in]


def norm(p, name):
    return {"norm": {"scale": p[f"{name}weight"], "bias": p[f"{name}bias"]}}


def attention(p, name="", cross=False):
    weight, bias, width = p[f"{name}in_proj_weight"], p[f"{name}in_proj_bias"], SHAPE.width
    output = linear(p[f"{name}out_proj.weight"], p[f"{name}out_proj.bias"])
    if not cross:
        return {"query_key_value": linear(weight, bias), "output": output}
    query, key_value = linear(weight[:width], bias[:width]), linear(weight[width:], bias[width:])
    return {"query": query, "key_value": key_value, "output": output}


def block(p, cross):
    last = "norm3." if cross else "norm2."
    params = {
        "attention": attention(p, "self_attn."),
        "attention_norm": norm(p, "norm1."),
        "up": linear(p["linear1.weight"], p["linear1.bias"]),
        "down": linear(p["linear2.weight"], p["linear2.bias"]),
        "feed_norm": norm(p, last),
    }
    if cross:
        params |= {"cross_attention": attention(p, "multihead_attn.", cross=True), "cross_norm": norm(p, "norm2.")}
    return params


def compare(reference, name, translate, inputs, run):
    """`translate` takes PyTorch's parameters, or their gradients, to ours; run(params, *inputs) -> output."""
    given, gradients = part(reference, name)
    arguments = {"params": translate(given)}, *(given[key] for key in inputs)

    def objective(*arguments):
        output = run(*arguments)
        return (output * given["towards"]).sum(), output

    derive = jax.jit(jax.value_and_grad(objective, tuple(range(len(arguments))), has_aux=True))
    (_, output), found = derive(*arguments)
    np.testing.assert_allclose(output, given["output"], rtol=1e-5, atol=1e-5)
    wanted = {"params": translate(gradients)}, *(gradients[key] for key in inputs)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    scale = max(1.0, *(np.abs(x).max() for x in jax.tree.leaves(wanted)))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5 * scale), found, wanted)


def test_causal_attention(reference):
    run = lambda params, x: Attention(SHAPE).apply(params, x, None, True, None, 0, False)[0]
    compare(reference, "causal", attention, ["x"], run)


def test_attention_across_a_padded_memory(reference):
    module = Attention(SHAPE, cross=True)
    mask = padding_mask(reference["lengths"], 4)

    def run(params, x, memory):
        pair = module.apply(params, memory, method="remember")
        return module.apply(params, x, pair, mask, False, method="across")

    compare(reference, "cross", partial(attention, cross=True), ["x", "memory"], run)


def test_layer_norm(reference):
    compare(reference, "norm", lambda p: norm(p, ""), ["input"], Normalization(SHAPE).apply)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("order", ["pre", "post"])
def test_encoder_block(reference, order, activation):
    shape = Shape(**(vars(SHAPE) | {"norm": order, "activation": activation}))
    mask = padding_mask(reference["lengths"], 4)
    run = lambda params, x: Block(shape).apply(params, x, mask)[0]
    compare(reference, f"encoder-{order}-{activation}", partial(block, cross=False), ["x"], run)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("order", ["pre", "post"])
def test_decoder_block(reference, order, activation):
    shape = Shape(**(vars(SHAPE) | {"norm": order, "activation": activation}))
    module, mask = Block(shape, causal=True, cross=True), padding_mask(reference["lengths"], 4)

    def run(params, x, memory):
        pair = module.apply(params, memory, method="remember")
        return module.apply(params, x, None, pair, mask)[0]

    compare(reference, f"decoder-{order}-{activation}", partial(block, cross=True), ["x", "memory"], run)


def beginning(x):
    return jnp.zeros(x.shape[:2], bool)


@pytest.mark.parametrize(("name", "module"), [("elman", Elman(12)), ("lstm", LSTM(12))])
def test_recurrent_layer(reference, name, module):
    translate = lambda p: {"Dense_0": linear(p["weight_ih_l0"], p["bias_ih_l0"]), "recurrent": p["weight_hh_l0"].T}

    def run(params, x, *memory):
        memory = tuple(part[0] for part in memory)
        return outputs(module.apply(params, memory if name == "lstm" else memory[0], x, beginning(x)))

    compare(reference, name, translate, ["x", "hidden", "cell"] if name == "lstm" else ["x", "hidden"], run)


def test_gru(reference):
    def translate(p):
        dense = linear(p["weight_ih_l0"], p["bias_ih_l0"])
        return {"Dense_0": dense, "recurrent": p["weight_hh_l0"].T, "recurrent_bias": p["bias_hh_l0"][24:]}

    run = lambda params, x, hidden: GRU(12).apply(params, hidden[0], x, beginning(x))
    compare(reference, "gru", translate, ["x", "hidden"], run)
