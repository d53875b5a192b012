"""Fine-tuning: what learns and what stays, by definition; pretrained nets read back; reasons that add up."""

import io
import re
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recipes import TINY
from shell import script

from research.engine.experiment import Tick
from research.engine.files import read_manifest
from research.engine.plan import Budget, Plan, Row
from research.engine.run import run
from research.engine.saved import plan_of, state_of
from research.language import finetune, lm
from research.language.reasons import reasons
from research.numerics.attribution import integrated_gradients
from research.numerics.calibration import calibration_error
from research.recipes import finetune as recipe
from research.recipes.finetune import FINETUNE, fitted, load
from research.recipes.lm import LM
from research.report import highlights

KEY = jax.random.key(0)
HYPER = jax.tree.map(jnp.float32, finetune.Hyper())
SMALL = replace(FINETUNE.setup, **TINY["finetune"], dropout=0.0)
DATA = Path(SMALL.data)
NET = {name: getattr(SMALL, name) for name in finetune.NET} | {"layers": 2}


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    """The folder of a run of `lm` that has read the sentences."""
    folder = tmp_path_factory.mktemp("pretraining")
    texts = [line.split("\t")[0] for line in DATA.read_text().splitlines()[1:]]
    (folder / "text").write_text("".join(f"{text}\n" for text in texts))
    setup = lm.Setup(text=str(folder / "text"), byte_pairs=270, batch_size=4, evaluation_batches=2, **NET)
    # A rate at which it soon gets worse: the best state is not the last.
    return run(Plan(LM, setup, (Row(0, lm.Hyper(learning_rate=0.3, warmup=0.0)),), Budget(6, 2, 2, 2)), folder / "runs")


def tuned(language_model, mode: str) -> finetune.Setup:
    return replace(SMALL, pretrained=str(language_model), mode=mode, last=1, layers=2)


@cache
def learned(setup: finetune.Setup):
    """Inputs, the state at first and after three updates."""
    inputs, experiment = load(setup), finetune.make(setup)
    first = jax.jit(experiment.init)(KEY, HYPER, inputs.data)
    step, state = jax.jit(experiment.step), first
    for index in range(3):
        state, _ = step(state, HYPER, inputs.data, Tick(jnp.int32(index), jnp.int32(4), KEY))
    return inputs, first, state


def test_the_net_is_the_best_of_the_language_models(language_model):
    plan = plan_of(LM, read_manifest(language_model))
    best, last = (state_of(plan, language_model, 0, best=best) for best in (True, False))
    assert best.tick < last.tick
    found = load(tuned(language_model, "head")).data.pretrained
    for path, x in finetune.net_of(best.state.params).items():
        np.testing.assert_array_equal(found.pop(path), x)
    assert not found


def test_a_default_net_learns_less_than_a_twentieth_by_lora():
    model = finetune.model_of(FINETUNE.setup, 4096)
    net = finetune.net_of(jax.eval_shape(model.init, KEY, jnp.zeros((1, 2), jnp.int32)))
    setup = replace(FINETUNE.setup, pretrained="x", mode="lora")
    data = finetune.Data((), (), net, jnp.zeros(2), jnp.zeros((4096, 1)))
    state = jax.eval_shape(partial(finetune.init, setup), KEY, HYPER, data)
    assert finetune.trained_share(state.trained, net) < 0.05


def test_numbers_are_blanked_in_training_alone():
    setup = replace(SMALL, dropout=0.5)
    inputs, _, state = learned(SMALL)
    step = jax.jit(finetune.make(setup).step)
    losses = {float(step(state, HYPER, inputs.data, Tick(jnp.int32(0), jnp.int32(4), key))[1]["loss"]) for key in
              jax.random.split(KEY, 3)}  # fmt: skip
    assert len(losses) == 3


@pytest.mark.parametrize("net", [{"mixer": "minlstm"}, {"norm": "post", "bias": True}, {"activation": "swiglu"}])
def test_other_nets_learn_in_every_mode(net):
    setup = replace(SMALL, layers=2, **net)
    model = finetune.model_of(setup, 280)
    whole = finetune.net_of(jax.eval_shape(model.init, KEY, jnp.zeros((1, 2), jnp.int32)))
    inputs = learned(SMALL)[0]
    for mode in MOVES:
        one = replace(setup, mode=mode, pretrained="x")
        data = inputs.data._replace(pretrained={path: np.zeros(x.shape, x.dtype) for path, x in whole.items()})
        state = jax.eval_shape(partial(finetune.init, one), KEY, HYPER, data)
        after, _ = jax.eval_shape(
            partial(finetune.step, one), state, HYPER, data, Tick(jnp.int32(0), jnp.int32(4), KEY)
        )
        assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(lambda x: (x.shape, x.dtype), after)
        assert len(state.trained) > 2 or mode == "head"


MOVES = {
    "all": {"embedding/", "stack/blocks_0/", "stack/blocks_1/", "stack/norm/"},
    "last": {"stack/blocks_1/", "stack/norm/"},
    "head": set(),
    "lora": {"stack/blocks_0/", "stack/blocks_1/"},
}


@pytest.mark.parametrize("mode", MOVES)
def test_what_a_mode_names_learns_and_the_rest_stays(mode, language_model):
    inputs, first, state = learned(tuned(language_model, mode))
    before, after = (
        finetune.net_of(finetune.assembled(inputs.data, x.trained, HYPER.lora_scale)) for x in (first, state)
    )
    places = ("embedding/", "stack/blocks_0/", "stack/blocks_1/", "stack/norm/")
    for path, x in before.items():
        # Each of the modes begins where the language model ended.
        np.testing.assert_array_equal(x, inputs.data.pretrained[path])
        moved = bool((np.asarray(after[path]) != np.asarray(x)).any())
        place = next(place for place in places if path.startswith(place))
        assert moved == (place in MOVES[mode] and (mode != "lora" or x.ndim == 2)), path
    assert (state.trained["head/kernel"] != 0).any() and set(before) == set(inputs.data.pretrained)
    # The share of parameters, by hand: a block has 12 C^2 = 3 C^2 + C^2 + 2 C H weights with C = H = 8, two norms of C.
    block, head = 4 * 64 + 2 * 64 + 16, 8 * 2 + 2
    whole = 2 * block + 8 + 270 * 8 + SMALL.context * 8
    adapters = 2 * 4 * ((8 + 24) + (8 + 8) + (8 + 8) + (8 + 8))
    learns = {"all": whole, "last": block + 8, "head": 0, "lora": adapters}[mode] + head
    total = whole + head + (adapters if mode == "lora" else 0)
    assert finetune.trained_share(state.trained, inputs.data.pretrained) == pytest.approx(learns / total)


def test_low_rank_matrices_are_added_as_written(language_model):
    inputs, _, state = learned(tuned(language_model, "lora"))
    net = finetune.net_of(finetune.assembled(inputs.data, state.trained, jnp.float32(3)))
    path = "stack/blocks_0/up/kernel"
    a, b = (np.asarray(state.trained[f"{path}/{side}"], np.float64) for side in "ab")
    assert a.shape == (8, 4) and b.shape == (4, 8) and np.abs(b).max() > 0
    np.testing.assert_allclose(net[path], inputs.data.pretrained[path] + 3 * a @ b, atol=1e-6)


def test_a_sentence_is_the_mean_of_its_own_tokens():
    inputs, _, state = learned(SMALL)
    text = inputs.data.held_out.text[:3]
    logits = jax.jit(partial(finetune.logits, SMALL))
    found = logits(inputs.data, state.trained, HYPER.lora_scale, text)
    model = finetune.model_of(SMALL, len(inputs.data.spellings))
    params = finetune.assembled(inputs.data, state.trained, HYPER.lora_scale)
    features = jax.jit(partial(model.apply, method="features"))
    for one, want in zip(text, np.asarray(found), strict=True):
        tokens = one[one != finetune.ABSENT]
        mean = np.asarray(features(params, tokens[None]))[0].mean(0)
        np.testing.assert_allclose(mean @ state.trained["head/kernel"] + state.trained["head/bias"], want, atol=1e-5)
    shorter = text[:, : (text != finetune.ABSENT).sum(1).max()]
    assert shorter.shape < text.shape
    np.testing.assert_allclose(logits(inputs.data, state.trained, HYPER.lora_scale, shorter), found, atol=1e-5)


def test_steps_descend_the_loss_of_the_sentences_of_their_bucket():
    """Over more than an epoch, in which ticks take turns between buckets of other sizes."""
    inputs, _, state = learned(SMALL)
    judge = jax.jit(partial(finetune.logits, SMALL))
    train, step = inputs.data.train, jax.jit(finetune.make(SMALL).step)
    seen = [set(), set()]
    assert len(train.tables) == 2 and len({*train.schedule[:, 0].tolist()}) == 2
    for index in range(len(train.schedule) + 2):
        tick = Tick(jnp.int32(index), jnp.int32(100), KEY)
        _, metrics = step(state, HYPER, inputs.data, tick)
        epoch, place = divmod(index, len(train.schedule))
        bucket, before = train.schedule[place].tolist()
        text, label = train.tables[bucket]
        rows = 320 // text.shape[1] // 8 * 8
        places = finetune.epoch_indices(
            state.order, jnp.int32(before + epoch * int(train.counts[bucket])), rows, len(text)
        )
        seen[bucket] |= {*places.tolist()}
        logits = np.asarray(judge(inputs.data, state.trained, HYPER.lora_scale, text[places]), np.float64)
        chances = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        want = -chances[np.arange(rows), label[places]].mean()
        assert float(metrics["loss"]) == pytest.approx(want, abs=1e-5)
    assert all(len(found) > 0.7 * len(text) for found, (text, _) in zip(seen, train.tables, strict=True))


def test_held_out_sentences_are_judged_once_and_in_their_order():
    inputs, _, state = learned(SMALL)
    outputs = jax.jit(finetune.make(SMALL).evaluate)(KEY, state, HYPER, inputs.data)
    text, label = inputs.data.held_out
    assert outputs.correct.shape == label.shape and len(label) % SMALL.evaluation_batch
    logits = np.asarray(
        jax.jit(partial(finetune.logits, SMALL))(inputs.data, state.trained, HYPER.lora_scale, text), np.float64
    )
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(outputs.confidence, chances.max(1), atol=1e-5)
    np.testing.assert_allclose(outputs.loss, -np.log(chances[np.arange(len(label)), label]), atol=1e-5)
    assert outputs.correct.tolist() == (chances.argmax(1) == label).tolist()
    scores = finetune.score(jax.tree.map(lambda x: np.asarray(x)[None], outputs))
    assert scores["accuracy"] == [np.mean(chances.argmax(1) == label)] and scores["trained_share"] == [1]


def explain(given: bytes, *arguments: object) -> tuple[int, str, str]:
    """The script, with sentences on standard input."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
        return script("explain.py", *arguments)


def test_it_learns_which_words_decide_and_names_them(tmp_path):
    """From nothing, of sentences whose label one of eight words decides."""
    setup = replace(SMALL, width=16, hidden=32, tokens=640, byte_pairs=320)
    hyper = finetune.Hyper(learning_rate=1e-2, weight_decay=0.01)
    plan = Plan(FINETUNE, setup, (Row(0, hyper), Row(1, hyper)), Budget(150, 50, 50, 150))
    folder = run(plan, tmp_path / "runs")
    summary = (folder / "evaluations.jsonl").read_text().splitlines()
    assert all('"test_accuracy": 1.0' in line for line in summary[-2:]), summary[-2:]
    page = tmp_path / "words.html"
    code, out, said = explain(b"", folder, "--count", 5, "--out", page)
    assert code == 0 and len(out.splitlines()) == 5 and page.read_text().count("<li>") == 5, said
    lines = DATA.read_text().splitlines()[1:65]
    sentences = "".join(line.split("\t")[0] + "\n" for line in lines)
    code, out, said = explain(sentences.encode(), folder, "--seed", 1, "--out", page)
    assert code == 0, said
    right = [told.split("\t")[0] == line.split("\t")[1] for told, line in zip(out.splitlines(), lines, strict=True)]
    assert np.mean(right) > 0.9
    # Other words count as well, by where they push it: a causal net has read them. By chance one in seven would be named first.
    words = {"warm", "bright", "witty", "tender", "dull", "flat", "stale", "clumsy"}
    first = [re.fullmatch(r"(?:good|poor)\t[\d.]+\t(\w+) [+-].*", line)[1] for line in out.splitlines()]
    assert len(first) == 64 and sum(word in words for word in first) > 64 * 0.4, first
    code, out, said = explain(b"a witty plot\nthe <b> was very stale\n", folder, "--out", page)
    assert code == 0 and len(out.splitlines()) == 2, said
    assert "&lt;b&gt;" in page.read_text() and "<b> was" not in page.read_text()
    code, out, said = explain(b"fine\n\nfine\n", folder, "--out", page)
    assert code == 2 and not out and "standard input, line 2 is empty" in said
    code, _, said = explain(b"", tmp_path)
    assert code == 2 and "so it is no run of finetune" in said


def test_a_run_of_another_kind_is_refused_in_words(language_model, tmp_path):
    """Each of these runs has a vocabulary, so the file alone does not tell."""
    folder = run(Plan(FINETUNE, SMALL, (Row(0, finetune.Hyper()),), Budget(2, 2, 2, 2)), tmp_path / "runs")
    for name, other, told in (
        ("generate.py", folder, "this is a run of 'finetune', and no language model's run"),
        ("explain.py", language_model, "this is a run of 'lm', and no run of finetune"),
        ("translate.py", language_model, "this is a run of 'lm', and no translation's run"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
            code, out, said = script(name, other)
        assert code == 2 and not out and told in said, said


def test_rows_of_lora_share_a_net_and_are_explained(language_model, tmp_path, monkeypatch):
    setup = tuned(language_model, "lora")
    rows = Row(0, finetune.Hyper()), Row(1, finetune.Hyper(learning_rate=1e-2))
    folder = run(Plan(FINETUNE, setup, rows, Budget(4, 2, 2, 2)), tmp_path / "runs")
    code, out, said = explain(b"", folder, "--row", 1, "--count", 2, "--out", tmp_path / "words.html")
    assert code == 0 and len(out.splitlines()) == 2, said
    monkeypatch.setattr(finetune, "ABSENT", -2)  # another table of the same sentences
    code, out, said = explain(b"fine\n", folder, "--out", tmp_path / "words.html")
    assert code == 2 and not out and "was trained on other data than there are now" in said


def test_reasons_add_up(language_model):
    setup = tuned(language_model, "lora")
    inputs, _, state = learned(setup)
    trained = jax.tree.map(lambda x: 3 * x, state.trained)
    why = jax.jit(partial(reasons, setup))(inputs.data, trained, HYPER.lora_scale, inputs.data.held_out.text[0])
    assert float(why.moved.sum()) == pytest.approx(float(why.log_odds - why.baseline), abs=1e-4)
    assert abs(float(why.moved.sum())) > 1e-3
    chances = np.asarray(why.probabilities, np.float64)
    assert float(why.log_odds) == pytest.approx(np.log(chances.max() / chances.min()), abs=1e-4)
    absent = np.asarray(inputs.data.held_out.text[0] == finetune.ABSENT)
    assert absent.any() and not np.asarray(why.moved)[absent].any()


def test_gradients_are_integrated():
    """f = x^2 y: on the line from 0 to (2, 3) the gradients are (2xy t^2, x^2 t^2) with thirds of 1 in t: 8 and 4."""
    found = integrated_gradients(lambda v: v[0] ** 2 * v[1], jnp.array([2.0, 3.0]), jnp.zeros(2), nodes=2)
    np.testing.assert_allclose(found, [8, 4], rtol=1e-6)
    # From (1, 1), sin x + x y: the parts add up to the difference.
    f = lambda v: jnp.sin(v[0]) + v[0] * v[1]
    found = integrated_gradients(f, jnp.array([2.0, 3.0]), jnp.ones(2), nodes=16)
    np.testing.assert_allclose(found, [np.sin(2) - np.sin(1) + 2.0, 3.0], rtol=1e-5)  # mean of y is 2, of x 1.5


@pytest.mark.filterwarnings("error")
def test_calibration_error_by_hand():
    # Of 15 bins the one that ends at 0.6 holds two (one right), that at 1 holds two (both right).
    found = calibration_error(np.array([0.55, 0.6, 0.95, 1.0]), np.array([True, False, True, True]))
    assert found == pytest.approx((abs(1.15 - 1) + abs(1.95 - 2)) / 4)
    # The first bin holds 0 and 0.05, the second 0.1; the last but one 0.9, the last 0.95 and what was rounded to above 1.
    found = calibration_error(np.array([0.0, 0.05, 0.1, 0.9, 0.95, 1.0000001]), np.array([1, 0, 0, 0, 1, 1], bool))
    assert found == pytest.approx((abs(0.05 - 1) + 0.1 + 0.9 + abs(1.95 - 2)) / 6)
    found = calibration_error(np.array([0.95, 1.0000001]), np.array([False, True]))
    assert found == pytest.approx(0.95 / 2)
    # In half precision 0.6 is 0.60010: beyond that bin's end, whatever 15 times it is in that precision.
    found = calibration_error(np.array([0.55, 0.6], np.float16), np.array([True, False]))
    assert found == pytest.approx((0.45 + 0.6) / 2, abs=1e-3)
    generator = np.random.default_rng(0)
    sure = generator.uniform(0.5, 1, 100_000)
    assert calibration_error(sure, generator.random(100_000) < sure) < 0.01
    assert np.isnan(calibration_error(np.array([0.5, np.nan]), np.array([True, True])))
    assert calibration_error(sure, generator.random(100_000) < 0.5) == pytest.approx(0.25, abs=0.01)


def test_tokens_become_words():
    spellings = [b"\n", b"a", b" ", b"funny", " f\u00fc".encode()[:3], "\u00fc".encode()[1:], b"\n"]
    found = highlights.words_of(spellings, np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]))
    assert found == [("a", 3.0), ("funny", 12.0), ("f\u00fc", 112.0)]
    one = highlights.Explained([("<b>", 2.0), ("ill", -1.0)], "no", 0.5, "yes", 1.5, 0.25)
    page = highlights.page([one], "Title & more", "About")
    assert one.gap == pytest.approx(0.25) and "not accounted for +0.250" in page and "labelled yes" in page
    assert (
        "Title &amp; more" in page
        and "&lt;b&gt;" in page
        and "46, 125, 50, 0.750" in page
        and "198, 40, 40, 0.375" in page
    )


def test_what_is_too_long_is_cut_and_counted():
    inputs = load(replace(SMALL, buckets=(8, 12), tokens=96))
    assert "90 sentences, of which" in inputs.note and "are cut to 12 tokens" in inputs.note
    lengths = np.concatenate([(text != finetune.ABSENT).sum(1) for text, _ in inputs.data.train.tables])
    assert len(lengths) == 90 and lengths.max() == 12 and (lengths == 12).sum() > 40
    assert fitted([np.array([5, 6, 7])], 2).tolist() == [[5, 6]]


BAD = {
    "mode": ({"mode": "lora"}, "mode='lora' keeps a net as it is that has learned nothing"),
    "buckets": ({"buckets": (24, 16)}, "must rise from at least 3"),
    "context": ({"context": 16}, "reach beyond context=16; end them with at most 16"),
    "last": ({"mode": "last", "last": 9, "pretrained": "x"}, "last=9 is more than layers=1"),
    "no file": ({"data": "nowhere.tsv"}, "data='nowhere.tsv' is neither sst2 nor a file"),
    "no run": ({"pretrained": "nowhere"}, "nowhere does not exist; give a folder such as runs/NAME"),
    "all alike": ({"data": "alike.tsv"}, "every sentence of alike.tsv has the label 'x'"),
    "sorted": ({"data": "sorted.tsv"}, "of the labels x, y of sorted.tsv the sentences to learn from have x alone"),
    "sorted at the end": ({"data": "turned.tsv"}, "the sentences held out have y alone"),
    "none held out": ({"held_out": 0.001}, "give held_out=0.1"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_named(what, tmp_path, monkeypatch):
    changed, said = BAD[what]
    monkeypatch.chdir(tmp_path)
    Path("alike.tsv").write_text("a b\tx\n" * 40)
    Path("sorted.tsv").write_text("a b\tx\n" * 40 + "b a\ty\n" * 4)
    Path("turned.tsv").write_text("a b\tx\n" * 10 + "b a\ty\n" * 30)
    setup = replace(SMALL, **changed)
    with pytest.raises(ValueError, match=said):
        finetune.make(setup)
        load(setup)


def test_sst2_is_learned_from_and_judged_on_its_own_parts(monkeypatch):
    parts = dict(zip(("train", "dev", "test"), recipe.parts_of(SMALL), strict=True))
    monkeypatch.setattr(recipe, "load_sst2", lambda: {name: parts[name] for name in sorted(parts)})
    assert recipe.parts_of(replace(SMALL, data="sst2")) == tuple(parts.values())


def test_a_pretrained_net_must_be_the_setups(language_model, tmp_path):
    with pytest.raises(ValueError, match="another net than this setup's; give --setup.layers 2$"):
        load(replace(SMALL, pretrained=str(language_model)))
    with pytest.raises(
        ValueError, match="give no --setup.bias --setup.layers 2$|give --setup.layers 2 no --setup.bias$"
    ):
        load(replace(SMALL, pretrained=str(language_model), bias=True))
    setup = replace(SMALL, width=16)
    other = run(Plan(FINETUNE, setup, (Row(0, finetune.Hyper()),), Budget(2, 2, 2, 2)), tmp_path)
    with pytest.raises(ValueError, match="is a run of 'finetune', not of lm, nanogpt"):
        load(replace(SMALL, pretrained=str(other)))


def test_an_unknown_character_is_named_with_its_line(tmp_path):
    (tmp_path / "text").write_text("a fine film\n" * 40)
    setup = lm.Setup(text=str(tmp_path / "text"), batch_size=4, evaluation_batches=2, **NET)
    folder = run(Plan(LM, setup, (Row(0, lm.Hyper()),), Budget(2, 2, 2, 2)), tmp_path / "runs")
    (tmp_path / "mine.tsv").write_text(
        "a film\tx\nfine film\ty\n" * 20 + "a zoo\tx\n" + "a film\tx\nfine film\ty\n" * 20
    )
    with pytest.raises(ValueError, match=r"mine.tsv, line 41: character 'z' \(U\+007A\)"):
        load(replace(SMALL, data=str(tmp_path / "mine.tsv"), pretrained=str(folder), layers=2))


def test_a_missing_label_is_named_with_its_line(tmp_path):
    lines = ["a fine film\t1", "a poor film\t0"] * 200
    lines[311] = "a film"
    (tmp_path / "mine.tsv").write_text("\n".join(lines) + "\n")
    code, _, said = script("train.py", "finetune", "--setup.data", tmp_path / "mine.tsv", "--out", tmp_path / "runs")
    # A box breaks lines, within a path too.
    assert code == 2 and "mine.tsv,line312hasnolabel" in said.replace(" ", ""), said
    assert not (tmp_path / "runs").exists()
