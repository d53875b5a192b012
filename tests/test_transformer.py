"""Transformers: who sees whom, decoding with a cache, positions, precision. Parity with PyTorch stands in tests/parity."""

import math
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.models.attention import attend, causal_mask, fusible, padding_mask, rotate, sinusoids
from research.models.sequences import GPT, Encoder, EncoderDecoder, empty_cache
from research.models.transformer import Block, Linear, Shape, gelu, product

KEY = jax.random.key(0)
SHAPE = Shape(width=16, heads=2, layers=2, hidden=24, longest=8)
TRANSLATION = replace(
    SHAPE, layers=1, norm="post", activation="relu", positions="sinusoidal", weights="xavier", scaled=True, tied=False
)
TOKENS = jax.random.randint(jax.random.key(1), (3, 8), 0, 11)
SOURCE, LENGTHS = TOKENS[:, :5], jnp.array([5, 2, 3])


@cache
def gpt(positions="learned", **changes):
    """A net with weights so large that attention is far from uniform."""
    net = GPT(replace(SHAPE, positions=positions, **changes), 11)
    return net, noisy(jax.jit(net.init)(KEY, TOKENS))


@cache
def logits_of(positions):
    """Compiled once for all tests: (params, tokens) -> logits"""
    return jax.jit(gpt(positions)[0].apply)


def noisy(params):
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(KEY, len(leaves))
    moved = [leaf + 0.3 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, moved)


@cache
def translator():
    net = EncoderDecoder(TRANSLATION, 11, 13)
    return net, noisy(jax.jit(net.init)(KEY, SOURCE, LENGTHS, TOKENS))


@cache
def translated():
    return jax.jit(translator()[0].apply)


POSITIONS = pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary"])


@POSITIONS
def test_no_token_sees_the_future_and_each_sees_the_past(positions):
    _, params = gpt(positions)
    apply = logits_of(positions)
    before, after = apply(params, TOKENS), apply(params, TOKENS.at[:, 4].add(1) % 11)
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert (np.abs(before - after)[:, 4:].max(-1) > 1e-4).all()


@POSITIONS
def test_decoding_with_a_cache_gives_the_logits_of_the_whole_text(positions):
    """A prompt of three, one of two in a longer cache, then token by token inside a scan."""
    net, params = gpt(positions)

    @jax.jit
    def decoded(params, tokens):
        decode = lambda tokens, cache: net.apply(params, tokens, cache, method="decode")
        first, cache = decode(tokens[:, :3], empty_cache(net.shape, 3, 8))
        second, cache = decode(tokens[:, 3:5], cache)

        def take(cache, token):
            logits, cache = decode(token[:, None], cache)
            return cache, logits[:, 0]

        cache, rest = jax.lax.scan(take, cache, tokens[:, 5:].T)
        return jnp.concatenate([first, second, rest.swapaxes(0, 1)], 1), cache.position

    found, position = decoded(params, TOKENS)
    np.testing.assert_allclose(found, logits_of(positions)(params, TOKENS), atol=1e-5)
    assert int(position) == 8


def test_translating_with_a_cache_gives_the_logits_of_the_whole_text():
    net, params = translator()

    memory = jax.jit(lambda params: net.apply(params, SOURCE, LENGTHS, method="encode"))(params)
    decode = jax.jit(lambda params, tokens, cache: net.apply(params, tokens, cache, memory, method="decode"))
    cache, pieces = empty_cache(net.shape, 3, 8), []
    for piece in (TOKENS[:, :3], *jnp.split(TOKENS[:, 3:], 5, 1)):
        logits, cache = decode(params, piece, cache)
        pieces.append(logits)
    whole = translated()(params, SOURCE, LENGTHS, TOKENS)
    assert whole.shape == (3, 8, 11) and whole.dtype == jnp.float32
    np.testing.assert_allclose(jnp.concatenate(pieces, 1), whole, atol=1e-5)


def test_a_translation_sees_its_source_but_neither_padding_nor_the_future():
    _, params = translator()
    apply = translated()
    whole = apply(params, SOURCE, LENGTHS, TOKENS)
    np.testing.assert_array_equal(whole[1:], apply(params, SOURCE.at[:, 4].add(1), LENGTHS, TOKENS)[1:])
    assert (np.abs(whole - apply(params, SOURCE.at[:, 1].add(1), LENGTHS, TOKENS)).max((1, 2)) > 1e-3).all()
    np.testing.assert_array_equal(whole[:, :6], apply(params, SOURCE, LENGTHS, TOKENS.at[:, 6].set(0))[:, :6])


def test_an_encoder_ignores_padding_and_an_empty_text_harms_nobody():
    net = Encoder(replace(SHAPE, layers=1), 11)
    params = noisy(jax.jit(net.init)(KEY, TOKENS, jnp.array([8, 8, 8])))
    lengths = jnp.array([8, 3, 0])

    def objective(params, tokens):
        encoded = net.apply(params, tokens, lengths)
        return (jnp.where(jnp.arange(8)[None, :, None] < lengths[:, None, None], encoded, 0.0) ** 2).sum(), encoded

    derive = jax.jit(jax.value_and_grad(objective, has_aux=True))
    (_, encoded), gradient = derive(params, TOKENS)
    (_, other), other_gradient = derive(params, TOKENS.at[1, 3:].set(0).at[2].set(0))
    np.testing.assert_array_equal(encoded[1, :3], other[1, :3])
    assert (np.abs(encoded[0, 0] - derive(params, TOKENS.at[0, 7].add(1))[0][1][0, 0]) > 0).any()  # sees what follows
    assert np.isfinite(encoded).all() and all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))
    blocks = lambda x: jax.tree.leaves(x["params"]["stack"])
    for one, two in zip(blocks(gradient), blocks(other_gradient), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_attention_by_hand_and_beside_jaxs():
    # One head of two numbers: scores 0 and sqrt(2) log 3 / sqrt(2) = log 3, weights 1/4 and 3/4.
    query = jnp.array([[[[1.0, 0.0]]]])
    key = jnp.array([[[[0.0, 5.0], [math.sqrt(2) * math.log(3), 7.0]]]])
    value = jnp.array([[[[4.0, 0.0], [0.0, 8.0]]]])
    np.testing.assert_allclose(attend(query, key, value, None, False), [[[[1.0, 6.0]]]], rtol=1e-6)
    query, key, value = jax.random.normal(KEY, (3, 2, 2, 4, 6))
    mask = padding_mask(jnp.array([2, 0]), 4)
    for hidden, causal in ((None, True), (mask, False), (mask, True)):
        ours = attend(query, key, value, hidden, causal)
        theirs = jax.nn.dot_product_attention(
            *(x.swapaxes(1, 2) for x in (query, key, value)), mask=hidden, is_causal=causal
        )
        np.testing.assert_allclose(ours, theirs.swapaxes(1, 2), atol=1e-6)


def test_what_cudnn_fuses():
    query = jnp.zeros((2, 4, 6, 32), jnp.bfloat16)
    assert fusible(query, None, "gpu") and not fusible(query, None, "cpu")
    assert not fusible(query.astype(jnp.float32), None, "gpu") and not fusible(query[..., :12], None, "gpu")
    assert not fusible(query, padding_mask(jnp.array([1, 2]), 6), "gpu")


def test_masks_by_hand():
    assert padding_mask(jnp.array([1, 0]), 2)[:, 0, 0].tolist() == [[True, False], [False, False]]
    assert causal_mask(2, 3)[0, 0].tolist() == [[True, False, False], [True, True, False]]
    assert causal_mask(1, 3, 1)[0, 0].tolist() == [[True, True, False]]


def test_rotation_keeps_lengths_and_knows_only_distances():
    query, key = jax.random.normal(KEY, (2, 1, 1, 1, 6))
    turned = [(rotate(query, i, 32), rotate(key, i, 32)) for i in range(20)]
    np.testing.assert_allclose(jnp.linalg.norm(turned[19][0]), jnp.linalg.norm(query), rtol=1e-5)
    score = lambda i, j: float((turned[i][0] * turned[j][1]).sum())
    np.testing.assert_allclose([score(5, 3), score(19, 17)], score(2, 0), rtol=1e-4)
    assert abs(score(5, 3) - score(5, 4)) > 1e-3
    # At position 1 the first pair, numbers 0 and 2 of four, turns by 1 radian, the second by 1/100.
    found = rotate(jnp.array([[[[1.0, 0.0, 0.0, 1.0]]]]), 1, 4)[0, 0, 0]
    np.testing.assert_allclose(found, [math.cos(1), -math.sin(0.01), math.sin(1), math.cos(0.01)], rtol=1e-5)


def test_sinusoids_by_hand():
    wanted = [[0, 0, 1, 1], [math.sin(1), math.sin(0.01), math.cos(1), math.cos(0.01)]]
    np.testing.assert_allclose(sinusoids(2, 4), wanted, rtol=1e-6)


def test_swiglu_by_hand():
    # One number in, gate 2x, value 3x, down 1: at x = 1 it is 3 * 2 / (1 + e^-2).
    block = Block(Shape(width=1, heads=1, layers=1, hidden=1, activation="swiglu", positions="learned", bias=False))
    params = {"up": {"kernel": jnp.array([[2.0, 3.0]])}, "down": {"kernel": jnp.ones((1, 1))}}
    found = block.apply({"params": params}, jnp.ones((1, 1, 1)), method="feed")
    np.testing.assert_allclose(found, [[[6 / (1 + math.exp(-2))]]], rtol=1e-6)


def test_gelu_is_exact():
    x = np.linspace(-6, 6, 101)
    wanted = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x]
    np.testing.assert_allclose(gelu(jnp.asarray(x, jnp.float32)), wanted, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_products_have_the_usual_gradients(shape):
    x, kernel = jax.random.normal(KEY, (2, 4, shape[0])), jax.random.normal(KEY, shape)
    found, wanted = (
        jax.jit(jax.value_and_grad(lambda x, k, f=f: jnp.sin(f(x, k)).sum(), (0, 1)))(x, kernel)
        for f in (lambda x, k: product(x, k, jnp.float32), jnp.matmul)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, wanted)


def test_recomputing_blocks_gives_equal_gradients():
    net, params = gpt(layers=1)
    recomputes, gradients = [], []
    for model in (net, GPT(replace(net.shape, remat=True), 11)):
        derive = jax.jit(jax.grad(lambda p, model=model: jax.nn.logsumexp(model.apply(p, TOKENS), -1).sum())).trace(
            params
        )
        recomputes.append("remat" in str(derive.jaxpr))
        gradients.append(derive.lower().compile()(params))
    assert recomputes == [False, True]
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5), *gradients)


def test_dropout_only_in_training():
    net, params = gpt()
    wet = GPT(replace(net.shape, dropout=0.5), 11)
    weights = GPT(replace(net.shape, attention_dropout=0.5), 11)
    still = logits_of("learned")(params, TOKENS)
    for dropping in (wet, weights):
        np.testing.assert_array_equal(jax.jit(dropping.apply)(params, TOKENS), still)
        trained = jax.jit(lambda params, key, net=dropping: net.apply(params, TOKENS, True, rngs={"dropout": key}))
        one, two = (trained(params, jax.random.key(i)) for i in (0, 1))
        assert (one != two).any() and (one != still).any()


def test_half_precision_keeps_parameters_and_logits_whole():
    net, params = gpt("rotary")
    half = GPT(replace(net.shape, dtype=jnp.bfloat16), 11)
    assert {x.dtype for x in jax.tree.leaves(jax.eval_shape(half.init, KEY, TOKENS))} == {jnp.dtype(jnp.float32)}
    logits, gradient = jax.jit(lambda p: (half.apply(p, TOKENS), jax.grad(lambda p: half.apply(p, TOKENS).sum())(p)))(
        params
    )
    assert logits.dtype == jnp.float32 and {x.dtype for x in jax.tree.leaves(gradient)} == {jnp.dtype(jnp.float32)}
    # bfloat16 keeps 8 bits: about one part in 256 of logits of size 5 or so, over two layers.
    whole = logits_of("rotary")(params, TOKENS)
    assert 0 < np.abs(logits - whole).mean() < 0.02 * np.abs(whole).max()
    cache = empty_cache(half.shape, 3, 8)
    found, _ = jax.jit(lambda p: half.apply(p, TOKENS, cache, method="decode"))(params)
    assert np.abs(found - whole).mean() < 0.02 * np.abs(whole).max()


def test_initial_weights_are_those_of_the_papers():
    x = jnp.zeros((1, 64))
    deviation = lambda **fields: float(
        Linear(Shape(layers=8, weights="normal"), 512, **fields).init(KEY, x)["params"]["kernel"].std()
    )
    np.testing.assert_allclose([deviation(), deviation(residual=True)], [0.02, 0.02 / 4], rtol=0.03)
    # Three matrices of 64 by 64 beside each other, each uniform within sqrt(6 / 128).
    params = Linear(Shape(weights="xavier"), 192, parts=3).init(KEY, x)["params"]
    np.testing.assert_allclose(np.abs(params["kernel"]).max(), math.sqrt(6 / 128), rtol=0.01)
    assert (params["bias"] == 0).all()
    # nanoGPT's own count for its CPU setting: 0.80 million, positions included.
    sizes = jax.tree.leaves(jax.eval_shape(GPT(Shape(bias=False), 65).init, KEY, TOKENS))
    assert sum(x.size for x in sizes) == 65 * 128 + 64 * 128 + 4 * (12 * 128**2 + 2 * 128) + 128


def test_refusals_name_the_repair():
    with pytest.raises(ValueError, match=r"heads=3 does not divide width=16; those that do: \[1, 2, 4, 8, 16\]"):
        replace(SHAPE, heads=3)
    with pytest.raises(ValueError, match=r"positions='rotary' needs pairs of numbers; width/heads=1"):
        replace(SHAPE, heads=16, positions="rotary")
    with pytest.raises(ValueError, match=r"length=9 is more than there are positions: longest=8"):
        empty_cache(SHAPE, 1, 9)
    with pytest.raises(ValueError, match=r"9 tokens are more than there are positions: longest=8"):
        net, params = gpt()
        net.apply(params, jnp.zeros((1, 9), jnp.int32))
    for net, given in ((Encoder, (TOKENS, LENGTHS)), (EncoderDecoder, (TOKENS, LENGTHS, TOKENS))):
        with pytest.raises(
            ValueError, match="mixer='gru' sees only what comes before; an encoder needs mixer='attention'"
        ):
            net(replace(SHAPE, mixer="gru"), 11).init(KEY, *given)
