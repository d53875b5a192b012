"""Language models: losses by definition, learning where the entropy is known, streams, and text that goes on."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kills import assert_ends_alike
from shell import script

from research.data.text import draw_crops
from research.engine.experiment import Tick
from research.engine.files import read_lines
from research.engine.plan import Budget, Plan, Row
from research.engine.run import run
from research.language import generation, lm
from research.recipes.lm import LM, NANOGPT_CPU, NANOGPT_GPU, load
from research.studies import recurrent_rivals

KEY = jax.random.key(0)
HYPER = jax.tree.map(jnp.float32, lm.Hyper())
SMALL = lm.Setup(layers=1, heads=2, width=8, hidden=16, context=5, batch_size=4, evaluation_batches=2)
slow = pytest.mark.slow
MIXERS = list(recurrent_rivals.WEIGHTS)


MODEL = lm.model_of(SMALL, 7)
TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 7, 64).astype(np.uint16))
DATA = lm.Data(TOKENS, TOKENS[:23], jnp.array([1, 1, 2, 1, 3, 1, 1], jnp.int32))


@pytest.fixture(scope="module")
def state() -> lm.State:
    return jax.jit(lm.make(SMALL).init)(KEY, HYPER, DATA)


def test_windows_ask_for_each_token_once():
    windows, counts = lm.in_windows(jnp.arange(23, dtype=jnp.uint16), 5, 2)
    assert windows.shape == (3, 2, 6) and counts.reshape(-1).tolist() == [5, 5, 5, 5, 2, 0]
    rows = zip(windows.reshape(-1, 6), counts.reshape(-1), strict=True)
    asked = [int(x) for window, count in rows for x in window[1 : count + 1]]
    assert asked == list(range(1, 23)) and windows.reshape(-1, 6)[:5, 0].tolist() == [0, 5, 10, 15, 20]


def test_the_exact_loss_is_the_mean_over_windows_one_by_one(state):
    outputs = jax.jit(lm.make(SMALL).evaluate)(KEY, state, HYPER, DATA)
    apply, tokens = jax.jit(MODEL.apply), np.asarray(DATA.held_out, np.int64)
    nats, spelt = 0.0, 0
    for start in range(0, 22, 5):
        inputs, targets = tokens[start : start + 5][: 22 - start], tokens[start + 1 : start + 6]
        logits = np.asarray(apply(state.params, jnp.asarray(inputs[None], jnp.int32))[0], np.float64)
        chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        nats -= np.log(chances[np.arange(len(targets)), targets]).sum()
        spelt += np.asarray(DATA.lengths)[targets].sum()
    scores = lm.score(jax.tree.map(lambda x: np.asarray(x)[None], outputs))
    assert scores["validation_loss"][0] == pytest.approx(nats / 22, abs=1e-5)
    assert scores["validation_bits_per_byte"][0] == pytest.approx(nats / np.log(2) / spelt, abs=1e-5)


def test_parts_of_a_batch_give_the_gradient_of_the_whole(state):
    crops = jax.random.randint(KEY, (4, 6), 0, 7)
    whole, parted = (
        jax.jit(partial(lm.accumulated, replace(SMALL, accumulation=n), MODEL))(state.params, crops, KEY)
        for n in (1, 2)
    )
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(parted), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_an_update_is_adamws_with_the_norm_held_and_vectors_left_undecayed(state):
    """By hand, from rest: the first direction of Adam is the gradient over its own size."""
    hyper = HYPER._replace(warmup=jnp.float32(0.0), max_gradient_norm=jnp.float32(1e-3), weight_decay=jnp.float32(0.5))
    tick = Tick(jnp.int32(0), jnp.int32(10), KEY)
    after, metrics = jax.jit(lm.make(SMALL).step)(state, hyper, DATA, tick)
    crop_key, dropout_key = jax.random.split(KEY)
    crops = draw_crops(crop_key, DATA.train, 4, 5)
    _, gradient = jax.jit(partial(lm.accumulated, SMALL, MODEL))(state.params, crops, dropout_key)
    norm = float(metrics["gradient_norm"])
    assert norm == pytest.approx(float(jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(gradient)))), rel=1e-5)
    for old, new, g in zip(*map(jax.tree.leaves, (state.params, after.params, gradient)), strict=True):
        held = g * 1e-3 / norm
        direction = held / (jnp.abs(held) + 1e-8) + (0.5 * old if old.ndim > 1 else 0.0)
        np.testing.assert_allclose(new, old - 1e-3 * direction, atol=2e-6)


def test_dropout_is_for_training_alone_and_differs_by_key(state):
    crops = jax.random.randint(KEY, (4, 6), 0, 7)
    loss = jax.jit(partial(lm.objective, lm.model_of(replace(SMALL, dropout=0.5), 7)))
    losses = [float(loss(state.params, crops, key)) for key in (None, None, KEY, jax.random.key(1))]
    assert losses[0] == losses[1] and len({*losses}) == 3


def copied(length: int = 20_000, kept: float = 0.9) -> str:
    """Letters a and b, each the one before the last with a chance of `kept`; it has as many bits as its coins."""
    coins = np.random.default_rng(1).random(length) < kept
    letters = np.zeros(length, bool)
    for t in range(2, length):
        letters[t] = letters[t - 2] ^ ~coins[t]
    return "".join("b" if x else "a" for x in letters)


@pytest.mark.parametrize(
    "mixer",
    [mixer if mixer in ("attention", "gru", "minlstm") else pytest.param(mixer, marks=slow) for mixer in MIXERS],
)
def test_every_mixer_learns_a_text_down_to_its_entropy(mixer, tmp_path):
    """What comes next depends on the token before the last alone: 0.325 nats are left, and 0.693 for who looks at one."""
    (tmp_path / "text").write_text(copied())
    setup = replace(SMALL, text=str(tmp_path / "text"), mixer=mixer, width=16, context=16, batch_size=32)
    plan = Plan(LM, setup, (Row(0, lm.Hyper(learning_rate=2e-2)),), Budget(300, 100, 100, 300))
    folder = run(plan, tmp_path)
    (last,) = read_lines(folder / "evaluations.jsonl")
    entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    # A window's first answer knows one letter; of n = 2,000 coins the mean is within 0.03 of their entropy.
    assert last["validation_loss"] == pytest.approx((15 * entropy + np.log(2)) / 16, abs=0.03)
    assert last["validation_bits_per_byte"] == pytest.approx(last["validation_loss"] / np.log(2), rel=1e-6)


def test_rivals_have_equally_many_weights():
    counts = []
    for arm in recurrent_rivals.STUDY.arms:
        model = lm.model_of(replace(NANOGPT_CPU.setup, **arm.setup), 65)
        shapes = jax.eval_shape(model.init, KEY, jnp.zeros((1, 64), jnp.int32))
        counts.append(sum(x.size for x in jax.tree.leaves(shapes)))
    assert max(counts) <= 1.02 * min(counts), counts  # positions and gates' biases are over


def test_presets_are_nanogpts_sizes():
    sizes = []
    for recipe in (NANOGPT_CPU, NANOGPT_GPU):
        model = lm.model_of(recipe.setup, 65)
        shapes = jax.eval_shape(model.init, KEY, jnp.zeros((1, recipe.setup.context), jnp.int32))["params"]
        whole = sum(x.size for x in jax.tree.leaves(shapes))
        sizes.append(whole - shapes["embedding"]["positions"].size)
    # What nanoGPT prints when it begins: 0.80M and 10.65M parameters, positions not counted.
    assert [round(size / 1e6, 2) for size in sizes] == [0.80, 10.65]


def test_a_streamed_run_sees_the_crops_of_its_feed_and_holds_no_text(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "text").write_text("to be or not to be\n" * 40)
    setup = replace(SMALL, text=str(tmp_path / "text"), streamed=True)
    inputs, resident = load(setup), load(replace(setup, streamed=False))
    assert inputs.data.train.size == 0 and inputs.files == resident.files
    assert inputs.data.held_out.tolist() == resident.data.held_out.tolist()
    feed = inputs.feed(3, 2)
    text = resident.data.train.tolist()
    assert feed.shape == (2, 4, 6) and all(
        any(crop.tolist() == text[i : i + 6] for i in range(len(text))) for crop in feed.reshape(-1, 6)
    )
    experiment = lm.make(setup)
    state = jax.jit(experiment.init)(KEY, HYPER, inputs.data)
    tick = Tick(jnp.int32(3), jnp.int32(10), KEY, jnp.asarray(feed[0]))
    _, metrics = jax.jit(experiment.step)(state, HYPER, inputs.data, tick)
    model = lm.model_of(setup, len(inputs.data.lengths))
    assert float(metrics["loss"]) == pytest.approx(float(lm.objective(model, state.params, tick.feed)), abs=1e-6)


BAD_SETUPS = {
    "accumulation": ({"accumulation": 3}, "accumulation=3 does not divide batch_size=4; nearest: 2"),
    "heads": ({"heads": 3}, "heads=3 does not divide width=8"),
    "no file": ({"text": "nowhere.txt"}, "text='nowhere.txt' is neither tinyshakespeare nor a file"),
    "empty": ({"text": "empty.txt"}, "empty.txt is empty"),
    "short": ({"text": "short.txt"}, "held-out part of text='short.txt' has 3 tokens, and context=5 needs at least 6"),
    "vocabulary": (
        {"text": "short.txt", "byte_pairs": 100},
        "byte_pairs=100 must be 0, for characters, or at least 256",
    ),
    "context": ({"context": 1}, "context=1 leaves nothing to look at; use at least 2, usual: 64"),
    "large": ({"text": "short.txt", "byte_pairs": 9000}, "byte_pairs=9000 is more than the text yields"),
}


@pytest.mark.parametrize("what", BAD_SETUPS)
def test_bad_input_is_named(what, tmp_path, monkeypatch):
    changed, said = BAD_SETUPS[what]
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text("")
    Path("short.txt").write_text("twenty letters, or so")
    setup = replace(SMALL, **changed)
    with pytest.raises(ValueError, match=said):
        lm.make(setup)
        load(setup)


@pytest.mark.parametrize(("mixer", "context"), [("attention", 24), ("attention", 8), ("lstm", 24)])
def test_text_goes_on_as_the_whole_model_says(mixer, context):
    """Greedy, past the end of the context: each token is the likeliest after those that the docstring names."""
    model = lm.model_of(replace(SMALL, mixer=mixer, context=context, width=16), 11)
    params = jax.jit(model.init)(KEY, jnp.zeros((1, context), jnp.int32))
    # Far apart, so that rounding chooses nothing.
    params = jax.tree.map(lambda x: x * 20 if x.ndim > 1 else x, params)
    prompt, apply = np.array([3, 1, 4]), jax.jit(model.apply)
    blocks = list(generation.continuation(model, params, prompt, KEY, 30, generation.Sampling(temperature=0.0)))
    assert [len(block) for block in blocks] == ([5] * 6 if context == 8 else [8, 8, 8, 6])
    seen, start, size = prompt.tolist(), 0, len(blocks[0])
    length = context if mixer == "attention" else 40
    for number, token in enumerate(np.concatenate(blocks).tolist()):
        if mixer == "attention" and number % size == 0 and context - (len(seen) - start) + 1 < size:
            start = len(seen) - context // 2
        whole = jnp.array([(seen[start:] + 40 * [0])[:length]], jnp.int32)
        logits = apply(params, whole)[0, len(seen) - start - 1]  # what follows is not seen
        assert token == int(logits.argmax())
        seen.append(token)
    assert len({*seen[3:]}) > 1


def test_draws_follow_the_key_and_a_temperature_of_nothing_does_not():
    model = lm.model_of(replace(SMALL, context=24), 11)
    params = jax.jit(model.init)(KEY, jnp.zeros((1, 24), jnp.int32))
    prompt = np.array([3])

    def drawn(key: int, **how: float) -> list[int]:
        sampling = generation.Sampling(**how)
        return np.concatenate(
            list(generation.continuation(model, params, prompt, jax.random.key(key), 16, sampling))
        ).tolist()

    assert drawn(0) == drawn(0) != drawn(1)
    assert drawn(0, temperature=0.0) == drawn(1, temperature=0.0) == drawn(1, top_k=1) == drawn(1, top_p=0.0)


def test_a_run_generates_text_or_says_why_not(tmp_path):
    (tmp_path / "text").write_text("to be or not to be, grüßte er\n" * 40)
    setup = replace(SMALL, context=8, text=str(tmp_path / "text"))
    folder = run(Plan(LM, setup, (Row(0, lm.Hyper()),), Budget(4, 2, 2, 2)), tmp_path / "runs")
    code, text, said = script("generate.py", folder, "--prompt", "to be", "--tokens", 12)
    assert code == 0 and text.startswith("to be") and len(text) == 5 + 12 + 1, said
    assert (code, text) == script("generate.py", folder, "--prompt", "to be", "--tokens", 12)[:2]
    code, best, _ = script("generate.py", folder, "--prompt", "to be", "--tokens", 12, "--draw", 3)
    assert code == 0 and best != text
    for arguments, told in (
        (["--prompt", "zoo"], "character 'z' (U+007A) at position 0"),
        (["--prompt", "to be or"], "the prompt has 8 tokens, and must have at least 1 and at most 7"),
        (["--prompt", ""], "the prompt has 0 tokens"),
        (["--temperature", -1], "temperature=-1.0 must be at least 0"),
        (["--seed", 5], "seed=5 is not one of this run's; use one of 0"),
    ):
        code, text, said = script("generate.py", folder, *arguments)
        assert code == 2 and told in said and not text, said
    code, _, said = script("generate.py", tmp_path)
    assert code == 2 and "so it is no language model's run" in said


@slow
def test_a_streamed_run_that_is_killed_ends_with_the_bits_of_one_that_was_not(tmp_path):
    (tmp_path / "text").write_text("to be or not to be, that is the question\n" * 4000)
    small = ["--setup.text", str(tmp_path / "text"), "--setup.streamed", "--setup.width", "32", "--setup.hidden", "64"]
    budget = ["--steps", "600", "--chunk", "10", "--record-every", "10", "--evaluate-every", "100"]
    assert_ends_alike(LM, ["lm", *small, *budget], tmp_path, (3, 20, 41), 60)
