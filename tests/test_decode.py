"""Decoding: filters against their definition, samples against their probabilities, beam search against everything."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from research.numerics.decode import absorb, beam_search, check_prompt, filtered, greedy, sample

END, V = 3, 4
FILTERED = jax.jit(filtered)


def table_model(tables: np.ndarray):
    """A model whose logits depend on the whole prefix: tables f32[B,contexts,V], contexts counted by digits base V.

    The state is (which table, the prefix's number, a count without batch axis).
    """

    def step(state, token):
        which, prefix, count = state
        prefix = jnp.where(count == 0, 0, prefix * V + token + 1)  # distinct for all prefixes; the first token is none
        return (which, prefix, count + 1), jnp.asarray(tables)[which, prefix]

    batch = tables.shape[0]
    return step, (jnp.arange(batch), jnp.zeros(batch, jnp.int32), jnp.int32(0)), jnp.zeros(batch, jnp.int32)


def random_tables(seed: int, batch: int, length: int, scale: float = 2.0) -> np.ndarray:
    # A prefix of n tokens has a number below sum of V**i for i <= n.
    contexts = sum(V**i for i in range(length + 1))
    return scale * np.random.default_rng(seed).normal(size=(batch, contexts, V)).astype(np.float32)


def exhaustive(table: np.ndarray, length: int, alpha: float) -> list[tuple[float, tuple[int, ...]]]:
    """Every sequence of at most `length` tokens that ends in END, with its score, best first."""
    found = []
    for size in range(1, length + 1):
        for body in itertools.product(range(END), repeat=size - 1):
            prefix, total = 0, 0.0
            for token in (*body, END):
                logits = table[prefix].astype(np.float64)
                total += logits[token] - np.log(np.exp(logits).sum())
                prefix = prefix * V + token + 1
            found.append((total / ((5 + size) / 6) ** alpha, (*body, END)))
    return sorted(found, reverse=True)


def stripped(tokens: np.ndarray) -> tuple[int, ...]:
    """Up to and with the end token; what follows must be padding."""
    tokens = np.asarray(tokens).tolist()
    end = tokens.index(END) + 1 if END in tokens else len(tokens)
    assert set(tokens[end:]) <= {9}
    return tuple(tokens[:end])


# Filters


@settings(max_examples=100)
@given(
    st.lists(st.integers(-400, 400), min_size=2, max_size=12),
    st.sampled_from([0.0, 0.3, 1.0, 2.5]),
    st.integers(0, 14),
    st.floats(0, 1),
)
def test_filters_are_their_definition(hundredths, temperature, top_k, top_p):
    logits = np.array(hundredths, np.float32) / 100
    expected = np.full(len(logits), -np.inf)
    # Most probable first; of equal ones the first.
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    order = order[:1] if temperature == 0 else order[: top_k or None]
    heat = np.exp(logits[order].astype(np.float64) / (temperature or 1))
    total = np.cumsum(heat / heat.sum())
    assume(top_p == 1 or np.abs(total - top_p).min() > 1e-4)
    kept = len(order) if top_p == 1 else int((total < top_p).sum()) + 1  # the smallest set that reaches p
    expected[order[:kept]] = logits[order[:kept]] / (temperature or 1)
    found = FILTERED(jnp.asarray(logits)[None], temperature, top_k, top_p)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_tail_of_tiny_probabilities_is_kept_where_all_is():
    logits = jnp.array([[20.0] + [0.0] * 50])  # the first probability rounds to 1
    assert bool(jnp.isfinite(filtered(logits)).all())
    assert int(jnp.isfinite(filtered(logits, top_p=0.0)).sum()) == 1


def test_rows_are_filtered_apart():
    logits = jnp.array([[3.0, 2.0, 1.0], [0.0, 5.0, 6.0]])
    assert jnp.isfinite(filtered(logits, top_k=2)).tolist() == [[True, True, False], [False, True, True]]


# Samples


def uniform_step(probabilities):
    def step(state, token):
        return state, jnp.broadcast_to(jnp.log(jnp.asarray(probabilities)), (token.shape[0], len(probabilities)))

    return step


@pytest.mark.parametrize(
    "how, expected",
    [
        ({}, [0.1, 0.2, 0.3, 0.4]),
        ({"temperature": 0.5}, [1 / 30, 4 / 30, 9 / 30, 16 / 30]),  # squares, divided by their sum
        ({"top_k": 2}, [0, 0, 3 / 7, 4 / 7]),
        ({"top_p": 0.75}, [0, 2 / 9, 3 / 9, 4 / 9]),
        ({"temperature": 0.0}, [0, 0, 0, 1]),
    ],
)
def test_samples_have_their_probabilities(how, expected):
    step = uniform_step([0.1, 0.2, 0.3, 0.4])
    _, tokens = sample(step, (), jnp.zeros(100, jnp.int32), jax.random.key(5), 90, **how)
    counts, expected = np.bincount(tokens.ravel(), minlength=4), 9000 * np.array(expected)
    assert tokens.shape == (100, 90) and tokens.dtype == jnp.int32
    assert counts[expected == 0].sum() == 0
    likely = expected > 0
    # Chi-square of at most 3 degrees of freedom: above 16.3 with probability 0.001.
    assert ((counts - expected)[likely] ** 2 / expected[likely]).sum() < 16.3
    for pairs in (tokens[:, 1:] == tokens[:, :-1], tokens[1:] == tokens[:-1]):  # neither columns nor rows share draws
        chance = ((expected / 9000) ** 2).sum()
        assert abs(pairs.mean() - chance) < 5 * np.sqrt(chance * (1 - chance) / pairs.size) + 1e-9


def test_without_temperature_a_sample_is_greedy():
    step, state, token = table_model(random_tables(0, 5, 6))
    _, drawn = sample(step, state, token, jax.random.key(0), 6, temperature=0.0, end=END, padding=9)
    _, taken = greedy(step, state, token, 6, end=END, padding=9)
    assert drawn.tolist() == taken.tolist() and bool((drawn == 9).any())


def test_greedy_by_hand():
    # After nothing 1 is best; after (1), number 2, 2 is best; after (1, 2), number 2 * 4 + 2 + 1 = 11, the end.
    table = np.zeros((1, 200, V), np.float32)
    table[0, 0, 1] = table[0, 2, 2] = table[0, 11, END] = 1
    step, state, token = table_model(table)
    assert greedy(step, state, token, 5, end=END, padding=9)[1].tolist() == [[1, 2, END, 9, 9]]
    assert greedy(step, state, token, 2)[1].tolist() == [[1, 2]]


def test_sampling_goes_on_where_it_stopped():
    step, state, token = table_model(random_tables(1, 3, 6))
    _, whole = greedy(step, state, token, 6)
    middle, first = greedy(step, state, token, 2)
    assert jnp.concatenate([first, greedy(step, middle, first[:, -1], 4)[1]], 1).tolist() == whole.tolist()


def test_a_prompt_is_read_up_to_its_last_token():
    step, state, token = table_model(random_tables(2, 3, 6))
    _, whole = greedy(step, state, token, 6)
    prompt = jnp.concatenate([token[:, None], whole[:, :3]], 1)
    assert greedy(step, absorb(step, state, prompt), prompt[:, -1], 3)[1].tolist() == whole[:, 3:].tolist()
    assert jax.tree.map(jnp.array_equal, absorb(step, state, prompt[:, :1]), state) == (True, True, True)


def test_settings_of_a_sampler_do_not_recompile():
    step, state, token = table_model(random_tables(3, 2, 4))
    compiled = jax.jit(lambda key, *how: sample(step, state, token, key, 4, *how)[1])
    for how in ((1.0, 0, 1.0), (0.0, 3, 0.5)):
        compiled(jax.random.key(0), *how)
    assert compiled._cache_size() == 1


@pytest.mark.parametrize("prompt", [0, 8, 9])
def test_a_prompt_must_fit(prompt):
    check_prompt(1, 8)
    check_prompt(7, 8)
    with pytest.raises(ValueError, match=f"the prompt has {prompt} tokens, and must have at least 1 and at most 7"):
        check_prompt(prompt, 8)


# Beam search


def test_a_wide_beam_finds_what_exhaustive_search_finds():
    length, tables = 4, random_tables(4, 6, 4)
    # 1 + 3 + 9 + 27 sequences end within 4 tokens; no beam of 40 ever drops one.
    search = jax.jit(lambda alpha: beam_search(*table_model(tables), 40, length, END, alpha, padding=9))
    for alpha in (0.0, 0.6, 2.0):
        found = jax.tree.map(np.asarray, search(alpha))
        assert found.tokens.shape == (6, 40, 4) and found.score.shape == (6, 40)
        for table, tokens, score in zip(tables, found.tokens, found.score, strict=True):
            every = exhaustive(table, length, alpha)
            assert len(every) == 40
            assert stripped(tokens[0]) == every[0][1]
            # What was found besides is scored right too, best first.
            known = {sequence: score for score, sequence in every}
            finished = np.isfinite(score)
            assert (np.diff(score[finished]) <= 0).all()
            right = [known[stripped(sequence)] for sequence in tokens[finished]]
            np.testing.assert_allclose(score[finished], right, atol=1e-5)


def test_a_penalty_changes_the_answer():
    # Otherwise the test above would pass with the penalty forgotten.
    tables = random_tables(4, 6, 4)
    assert [exhaustive(t, 4, 0.0)[0][1] for t in tables] != [exhaustive(t, 4, 2.0)[0][1] for t in tables]


@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_one_hypothesis_is_greedy(alpha):
    tables = random_tables(5, 20, 6, scale=1.0)
    tables[..., END] -= 0.5
    step, state, token = table_model(tables)
    _, expected = greedy(step, state, token, 6, end=END, padding=9)
    found = beam_search(step, state, token, 1, 6, END, alpha, padding=9)
    assert found.tokens[:, 0].tolist() == expected.tolist()
    assert not (expected == END).any(1).all()  # some are cut off
    assert len({len(stripped(tokens)) for tokens in expected}) > 3


def test_a_wider_beam_finds_better_ones():
    tables = random_tables(6, 30, 5)
    scores = [beam_search(*table_model(tables), width, 5, END, 0.0).score[:, 0] for width in (1, 3)]
    best = np.array([exhaustive(table, 5, 0.0)[0][0] for table in tables])
    assert scores[0].mean() < scores[1].mean() <= best.mean() + 1e-6
    assert (scores[1] <= best + 1e-5).all()


def test_garden_path_by_hand():
    # Token 0 has probability 0.6, but every continuation of it 1/4; after token 1 (0.4) the end is certain.
    table = np.zeros((1, 200, V), np.float32)
    table[0, 0] = np.log([0.6, 0.4 - 2e-6, 1e-6, 1e-6])
    table[0, 2] = np.log([1e-6, 1e-6, 1e-6, 1 - 3e-6])
    found = beam_search(*table_model(table), 2, 3, END, 0.0, padding=9)
    assert found.tokens[0, 0].tolist() == [1, END, 9]
    assert float(jnp.exp(found.score[0, 0])) == pytest.approx(0.4, abs=1e-4)
    assert beam_search(*table_model(table), 1, 3, END, 0.0).tokens[0, 0, 0] == 0


def test_neighbours_in_a_batch_change_nothing():
    tables = random_tables(7, 30, 5)
    search = jax.jit(lambda tables: beam_search(*table_model(tables), 2, 5, END, 3.0, padding=9))
    together = search(tables)
    for i in range(30):
        alone = search(tables[i : i + 1])
        assert alone.tokens[0].tolist() == together.tokens[i].tolist()
        np.testing.assert_allclose(alone.score[0], together.score[i], rtol=1e-6)


def test_the_search_stops_when_nothing_can_win():
    steps = []

    def step(state, token):
        jax.debug.callback(lambda: steps.append(1))
        return state, jnp.broadcast_to(jnp.array([0.0, 0.0, 0.0, 8.0]), (token.shape[0], V))

    found = beam_search(step, (), jnp.zeros(2, jnp.int32), 3, 50, END, 0.0)
    jax.effects_barrier()
    # The end, with 0.999, cannot be beaten by what begins otherwise.
    assert found.tokens[:, 0, 0].tolist() == [END, END] and len(steps) == 1


def test_what_never_ends_is_cut_off():
    table = np.zeros((1, 500, V), np.float32)
    table[..., END] = -np.inf
    table[0, 0, 2] = 1.0
    found = beam_search(*table_model(table), 2, 3, END, 1.0, padding=9)
    assert found.tokens[0, 0].tolist() == [2, 0, 0] and bool(jnp.isfinite(found.score).all())


def test_rows_search_apart():
    tables = jnp.asarray(random_tables(8, 2, 4))

    def search(table):
        step = lambda state, token: ((state * V + token + 1), table[state * V + token + 1])
        return beam_search(step, jnp.zeros(1, jnp.int32), jnp.zeros(1, jnp.int32), 3, 3, END)

    rows = jax.jit(jax.vmap(search))(tables)
    for i in range(2):
        assert rows.tokens[i].tolist() == search(tables[i]).tokens.tolist()


def test_a_beam_has_a_width():
    with pytest.raises(ValueError, match="width=0 must be at least 1"):
        beam_search(*table_model(random_tables(0, 1, 1)), 0, 3, END)
