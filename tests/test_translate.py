"""Translation: loss and batches by definition, search against the model run anew, BLEU by sacrebleu, a task it learns."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sacrebleu
from PIL import Image
from recipes import PHRASES, TINY
from shell import script

from research.data.fetch import data_root
from research.data.pairs import TOGETHER, bucket_rows, load_multi30k, turn
from research.data.vocabulary import BEGIN, END, PADDING, from_json, spelling_table, spelt_out
from research.engine.experiment import Ratio, Tick
from research.engine.files import MANIFEST, read_lines, read_manifest, write_json
from research.engine.manifest import data_hash
from research.engine.plan import Budget, Plan, Row
from research.engine.run import run
from research.language import bleu, generation, pictures, translate, words
from research.models.sequences import alignment
from research.recipes import translate as recipe
from research.recipes.translate import TRANSLATE, drawn, load, pairs_of

KEY = jax.random.key(0)
HYPER = jax.tree.map(jnp.float32, translate.Hyper())
SMALL = replace(TRANSLATE.setup, **TINY["translate-tiny"], norm="pre", dropout=0.0)
V = 9
SOURCE = jnp.array([[3, 4, 5, END, 0, 0], [6, END, 0, 0, 0, 0]])
TARGET = jnp.array([[BEGIN, 7, 8, 3, END], [BEGIN, 4, END, 0, 0]])


@cache
def net():
    """A model of few tokens, with weights so large that it is sure of what it says."""
    model = translate.model_of(replace(SMALL, buckets=(6, 12)), V)
    params = jax.jit(model.init)(KEY, SOURCE, generation.lengths(SOURCE), TARGET)
    return model, jax.tree.map(lambda x: 4 * x if x.ndim > 1 else x, params)


@cache
def inputs():
    return load(SMALL)


@cache
def begun():
    """A Setup that blanks half in training, its state at first and its compiled step."""
    setup = replace(SMALL, dropout=0.5)
    experiment = translate.make(setup)
    return setup, jax.jit(experiment.init)(KEY, HYPER, inputs().data), jax.jit(experiment.step)


@cache
def logits_of():
    return jax.jit(net()[0].apply)


def chances(source, target) -> np.ndarray:
    """log p f64[B,T,V] of each next token"""
    logits = np.asarray(logits_of()(net()[1], source, generation.lengths(source), target), np.float64)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def test_the_loss_is_smoothed_by_definition_and_counts_no_padding():
    model, params = net()
    loss = jax.jit(partial(translate.objective, model))
    smoothed, plain = loss(params, SOURCE, TARGET, jnp.float32(0.2))
    found = chances(SOURCE, TARGET[:, :-1])
    # The first target asks for 7, 8, 3 and END, the second for 4 and END.
    asked = [found[0, t, v] for t, v in enumerate((7, 8, 3, END))] + [found[1, t, v] for t, v in enumerate((4, END))]
    everywhere = found[0].mean(-1).sum() + found[1, :2].mean(-1).sum()
    assert float(plain.total) == pytest.approx(-sum(asked), rel=1e-5) and float(plain.count) == 6
    assert float(smoothed) == pytest.approx(-0.8 * sum(asked) - 0.2 * everywhere, rel=1e-5)
    longer = loss(params, jnp.pad(SOURCE, ((0, 0), (0, 3))), jnp.pad(TARGET, ((0, 0), (0, 2))), jnp.float32(0.2))
    assert float(longer[0]) == pytest.approx(float(smoothed), rel=1e-5)


def test_parts_of_a_batch_give_the_gradient_of_the_whole():
    """Parts with other numbers of tokens: the mean is over tokens, not over parts."""
    model, params = net()
    generator = np.random.default_rng(0)
    goals = np.where(np.arange(7)[None] < generator.integers(2, 8, (40, 1)), generator.integers(3, V, (40, 7)), PADDING)
    table = jnp.asarray(generator.integers(3, V, (40, 6))), jnp.asarray(np.insert(goals, 0, BEGIN, 1)[:, :7])
    state = translate.State(params, params, (), jnp.uint32(7))
    found = []
    for parts in (1, 2):
        setup = replace(SMALL, tokens=16 * 6, accumulation=parts)
        learn = jax.jit(partial(translate.learn, setup, model))
        found.append(learn(table, state, HYPER, jnp.int32(1), KEY))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), *found)
    # By definition, of the 16 pairs that this tick reads.
    places = translate.epoch_indices(state.order, jnp.int32(1), 16, 40)
    sums = jax.grad(lambda params: translate.objective(model, params, *(x[places] for x in table), 0.1)[0])
    known = (table[1][places, 1:] != PADDING).sum()
    assert float(found[0][0].count) == int(known)
    for one, other in zip(jax.tree.leaves(jax.jit(sums)(params)), jax.tree.leaves(found[0][1]), strict=True):
        np.testing.assert_allclose(np.asarray(one) / int(known), other, atol=1e-5)


def test_an_update_is_adams_and_the_average_follows():
    _, before, step = begun()
    hyper = HYPER._replace(warmup=jnp.float32(0.5), average=jnp.float32(0.5))
    seen, averages = [], []
    state = before
    for index in range(3):
        state, metrics = step(state, hyper, inputs().data, Tick(jnp.int32(index), jnp.int32(10), KEY))
        seen.append(state.params)
        averages.append(state.average)
    # From rest Adam's first direction is the gradient over its own size: here the rate is a fifth of the highest.
    moved = jax.tree.map(lambda x, y: jnp.abs(x - y).max(), before.params, seen[0])
    assert max(jax.tree.leaves(moved)) == pytest.approx(5e-3 / 5, rel=0.01)
    # Half a share: weights 1 / max(t / 2, 1) for t = 1, 2, 3, so the last alone, the last alone, two thirds of the last.
    wanted = [seen[0], seen[1], jax.tree.map(lambda x, y: x / 3 + 2 * y / 3, seen[1], seen[2])]
    for found, want in zip(averages, wanted, strict=True):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), found, want)
    assert isinstance(metrics["loss"], Ratio) and metrics["loss"].count > 0


def test_a_tick_learns_from_the_pairs_that_its_turn_names():
    """In both buckets, in the first epoch and later: the loss is that of these pairs, with the tick's own dropout."""
    setup, state, step = begun()
    data, seen = inputs().data, []
    losses = jax.jit(partial(translate.objective, translate.model_of(setup, len(data.spellings))))
    epoch, first = len(data.train.schedule), int(data.train.schedule[:, 0].argmin())  # of the smaller bucket, not at 0
    for index in (first, first + 1, epoch + first, epoch + first + 1, 2 * epoch + first):
        key = jax.random.fold_in(KEY, index)
        _, metrics = step(state, HYPER, data, Tick(jnp.int32(index), jnp.int32(100), key))
        bucket, batch = (int(x) for x in turn(*map(jnp.asarray, data.train[1:]), jnp.int32(index)))
        source, target = data.train.tables[bucket]
        rows = bucket_rows(source.shape[1], SMALL.tokens, TOGETHER)
        places = translate.epoch_indices(state.order, jnp.int32(batch), rows, len(source))
        (part,) = jax.random.split(key, 1)  # a key for each part of the batch, of which there is one
        _, wanted = losses(state.params, source[places], target[places], HYPER.label_smoothing, part)
        assert jax.tree.map(float, metrics["loss"]) == pytest.approx(jax.tree.map(float, wanted), rel=1e-5)
        seen.append((bucket, batch == index))
    assert {*seen} == {(0, False), (1, False)}
    again = [step(state, HYPER, data, Tick(jnp.int32(1), jnp.int32(100), key))[1] for key in jax.random.split(KEY)]
    assert float(again[0]["loss"].total) != pytest.approx(float(again[1]["loss"].total), rel=1e-3)


def test_an_epoch_reads_every_pair_of_a_bucket_once():
    for source, _ in inputs().data.train.tables:
        count, length = source.shape
        rows = bucket_rows(length, SMALL.tokens, translate.multiple(SMALL))
        assert rows % TOGETHER == 0 and rows * length <= SMALL.tokens
        batches = jnp.arange(-(-count // rows))
        read = jax.vmap(lambda i: translate.epoch_indices(jnp.uint32(3), i, rows, count))(batches)  # noqa: B023
        assert sorted(read.reshape(-1)[:count].tolist()) == list(range(count))


def test_greedy_search_is_the_model_run_anew_token_by_token():
    model, params = net()
    found = jax.jit(partial(generation.translate, model, width=1, alpha=0.6))(params, SOURCE)
    lengths, said = [], np.asarray(found.tokens[:, 0])
    for row in range(2):
        seen = [BEGIN]
        while len(seen) <= 12 and seen[-1] != END:
            padded = jnp.array([seen + [0] * (12 - len(seen))])  # what follows is not seen
            seen.append(int(chances(SOURCE[row : row + 1], padded)[0, len(seen) - 1].argmax()))
        lengths.append(len(seen) - 1)
        assert said[row].tolist() == seen[1:] + [PADDING] * (13 - len(seen))
    assert lengths[0] != lengths[1] or said[0].tolist() != said[1].tolist()


def test_more_hypotheses_score_no_less_and_the_score_is_the_models():
    """The search is not exact, but here no prefix of a best translation falls out of the four."""
    model, params = net()
    scores = []
    for width in (1, 4):
        found = jax.jit(partial(generation.translate, model, width=width, alpha=0.0))(params, SOURCE)
        scores.append(np.asarray(found.score[:, 0]))
        for row, sentence in enumerate(np.asarray(found.tokens[:, 0])):
            target = np.insert(sentence, 0, BEGIN)
            gains = chances(SOURCE[row : row + 1], jnp.asarray(target[None, :-1]))[0]
            total = sum(gains[t, v] for t, v in enumerate(sentence) if v != PADDING)
            assert scores[-1][row] == pytest.approx(total, abs=1e-3)
    assert (scores[1] >= scores[0] - 1e-4).all()


def test_attention_is_a_mean_over_what_is_there_and_asking_changes_nothing():
    model, params = net()
    looked = jax.jit(partial(alignment, model))(params, SOURCE, generation.lengths(SOURCE), TARGET)
    assert looked.shape == (1, 2, 2, 5, 6)
    np.testing.assert_allclose(looked.sum(-1), 1.0, rtol=1e-5)
    assert (looked[:, 0, :, :, 4:] == 0).all() and (looked[:, 1, :, :, 2:] == 0).all()
    assert float(jnp.abs(looked[0, 0, 0, 0] - looked[0, 0, 0, 1]).max()) > 1e-3
    assert {*jax.eval_shape(model.init, KEY, SOURCE, generation.lengths(SOURCE), TARGET)} == {"params"}


def test_sentences_come_back_in_their_order_whatever_batches_they_went_in():
    """As a search for as many hypotheses finds them, with the row's own favour for longer ones; six, by four of like length."""
    state, data = begun()[1], inputs().data
    average = jax.tree.map(lambda x: 4 * x if x.ndim > 1 else x, state.average)
    # END comes now early, now late.
    table, last = average["params"]["embedding"]["table"], average["params"]["decoder"]["norm"]["norm"]
    last["bias"] = 2 * table[END] / jnp.linalg.norm(table[END])
    average["params"]["embedding"]["table"] = table.at[END].multiply(2)
    held_out, model = data.held_out, translate.model_of(SMALL, len(data.spellings))
    evaluate = jax.jit(translate.make(replace(SMALL, beam=3, evaluation_batch=4)).evaluate)
    search = jax.jit(partial(generation.translate, model, width=3))
    outputs = []
    for penalty in jnp.float32([0.0, 3.0]):
        hyper = HYPER._replace(length_penalty=penalty)
        outputs.append(evaluate(KEY, state._replace(average=average), hyper, data))
        wanted = search(average, held_out.source, alpha=penalty).tokens[:, 0]
        np.testing.assert_array_equal(outputs[-1].translation, wanted)
    assert (outputs[0].translation != outputs[1].translation).any()
    assert len({tuple(x) for x in np.asarray(outputs[0].translation).tolist()}) == 6
    losses = jax.jit(partial(translate.objective, model))
    alone = [
        losses(average, held_out.source[i : i + 1], held_out.target[i : i + 1, :25], jnp.float32(0.0))[0]
        for i in range(6)
    ]
    np.testing.assert_allclose(outputs[0].nats, alone, rtol=1e-4)
    assert outputs[0].tokens.tolist() == (held_out.target[:, 1:25] != PADDING).sum(1).tolist()
    references = spelt_out(outputs[0].reference, outputs[0].spellings)
    assert references == Path(PHRASES["target"]).read_text(encoding="utf-8").splitlines()[228:234]
    picture = drawn(jax.tree.map(lambda x: np.asarray(x)[None], outputs[0]), data)["attention"]
    assert picture.dtype == np.uint8 and picture.shape[-1] == 3 and len(np.unique(picture)) > 10


def test_a_map_is_dark_where_the_weight_is():
    weights = np.zeros((1, 3, 4), np.float32)
    weights[0, 1, 2] = 1.0
    picture = pictures.attention_maps(weights, ["a", "b", "c"], ["x", "y"])
    cell = lambda row, column: picture[
        pictures.MARGIN + int((row + 0.5) * pictures.CELL), pictures.MARGIN + int((column + 0.5) * pictures.CELL)
    ].tolist()
    assert cell(1, 2) == [0, 0, 0] and cell(0, 2) == cell(1, 1) == [255, 255, 255]


HYPOTHESES = ["the cat &apos;s on the mat .", "two dogs , and a third one", "nothing, or less", ""]
REFERENCES = [
    "the cat &apos;s sat on the mat .",
    "two dogs , and one more",
    "nothing , or &quot; less &quot; .",
    "gone",
]


def test_bleu_is_sacrebleus():
    found = {kind: bleu.counts(kind, HYPOTHESES, REFERENCES, tokenized=True) for kind in bleu.KINDS}
    plain = sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES], tokenize="none", force=True).score
    written = [[words.detokenized(x) for x in texts] for texts in (HYPOTHESES, REFERENCES)]
    usual = sacrebleu.corpus_bleu(written[0], [written[1]]).score
    assert bleu.bleu(found["tokenized_bleu"].sum(0)) == pytest.approx(plain, abs=1e-9)
    assert bleu.bleu(found["detokenized_bleu"].sum(0)) == pytest.approx(usual, abs=1e-9)
    as_it_stands = sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score
    untouched = bleu.counts("detokenized_bleu", HYPOTHESES, REFERENCES)
    assert bleu.bleu(untouched.sum(0)) == pytest.approx(as_it_stands, abs=1e-9)
    assert len({round(x, 1) for x in (plain, usual, as_it_stands)}) == 3
    metric = sacrebleu.metrics.BLEU(tokenize="none", force=True)
    metric.corpus_score(HYPOTHESES, [REFERENCES])
    told = metric.get_signature().format().rsplit("|", 1)[0]  # without sacrebleu's version
    assert told in bleu.__doc__ and told.replace("none", "13a") in bleu.__doc__


def test_only_multi30ks_text_is_put_together_again():
    said, wanted = HYPOTHESES[0].split(), REFERENCES[0].split()
    spelt = sorted({*said, *wanted})
    spellings = spelling_table([b"", b"", b"", *(f" {word}".encode() for word in spelt)])
    sides = (np.array([[[3 + spelt.index(word) for word in text]]]) for text in (said, wanted))
    outputs = translate.Outputs(*sides, np.ones((1, 1)), np.ones((1, 1)), np.zeros(0), spellings[None])
    found = [
        float(translate.make(replace(SMALL, source=source, target=target)).score(outputs)["detokenized_bleu"][0])
        for source, target in (("en", "de"), ("own.en", "own.de"))
    ]
    apart = sacrebleu.sentence_bleu(HYPOTHESES[0], [REFERENCES[0]]).score
    together = sacrebleu.sentence_bleu("the cat's on the mat.", ["the cat's sat on the mat."]).score
    assert found == pytest.approx([together, apart]) and together != pytest.approx(apart, abs=1)


def test_a_bootstrap_repeats_and_tells_better_from_equal():
    generator = np.random.default_rng(0)
    references = [" ".join(generator.choice(list("abcdefgh"), 12)) for _ in range(60)]

    def spoilt(share: float) -> np.ndarray:
        texts = [" ".join("z" if generator.random() < share else x for x in text.split()) for text in references]
        return bleu.counts("tokenized_bleu", texts, references)

    good, alike, bad = spoilt(0.1), spoilt(0.1), spoilt(0.2)
    value, low, high = bleu.interval(good)
    assert bleu.interval(good) == (value, low, high) != bleu.interval(good, seed=1)
    assert low < value < high and value == bleu.bleu(good.sum(0))
    difference, p = bleu.paired(good, bad)
    assert p < 0.01 and difference.low > 0 and bleu.paired(bad, good)[0].value == -difference.value
    assert bleu.paired(good, good) == ((0.0, 0.0, 0.0), 1.0)
    assert bleu.paired(good, alike)[1] > 0.05


def test_a_paired_bootstrap_says_what_sacrebleus_says():
    from sacrebleu.significance import PairedTest

    references = [f"{i} {i % 7} {i % 5} {i % 3} {i + 1} end" for i in range(40)]
    systems = [
        [text if i % step else " ".join(reversed(text.split())) for i, text in enumerate(references)] for step in (3, 5)
    ]
    metric = sacrebleu.metrics.BLEU(tokenize="none", force=True, references=[references])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SACREBLEU_SEED", "12345")
        named = [("one", systems[0]), ("other", systems[1])]
        told = PairedTest(named, {"BLEU": metric}, references=None, test_type="bs", n_samples=2000)()[1]["BLEU"][1]
    counts = [bleu.counts("tokenized_bleu", system, references) for system in systems]
    found, p = bleu.paired(counts[1], counts[0], 2000)
    assert found.value == pytest.approx(told.score - bleu.bleu(counts[0].sum(0)), abs=1e-6)
    # Two draws of 2,000: each p has a standard error of at most 0.011.
    assert 0.005 < told.p_value < 0.4 and p == pytest.approx(2 * told.p_value, abs=0.05)


WRITTEN = [
    ("en", 'He said: "Don\'t!", and left.', "he said : &quot; don &apos;t ! &quot; , and left ."),
    ("en", "A man's 1,000 well-known U.S. cars…", "a man &apos;s 1,000 well-known u.s. cars ..."),
    ("en", "The dogs' bowl, a 'big' dog's.", "the dogs &apos; bowl , a &apos; big &apos; dog &apos;s ."),
    (
        "en",
        "They're 4' tall in 'old dogs', of the 1990's.",
        "they &apos;re 4 &apos; tall in &apos; old dogs &apos; , of the 1990 &apos;s .",
    ),
    ("fr", "L’homme (à gauche) rit.", "l&apos; homme ( à gauche ) rit ."),
    (
        "fr",
        "Le \"chef-d'œuvre\" (d'art) rock 'n' roll.",
        "le &quot; chef-d&apos; œuvre &quot; ( d&apos; art ) rock &apos; n &apos; roll .",
    ),
    ("de", "Größe & „Maß“?", "größe &amp; &quot; maß &quot; ?"),
    ("de", "Joe's Bar, Maus' Nase, 'Café'.", "joe &apos; s bar , maus &apos; nase , &apos; café &apos; ."),
]


@pytest.mark.parametrize(("language", "text", "wanted"), WRITTEN)
def test_words_come_apart_as_in_multi30k_and_go_together_again(language, text, wanted):
    assert words.tokenized(text, language) == wanted
    alike = text.translate(words.ALIKE).replace("…", "...").lower()
    assert words.detokenized(wanted) == alike
    assert words.tokenized(words.detokenized(wanted), language) == wanted


@pytest.mark.skipif(not (data_root() / "multi30k").is_dir(), reason="Multi30k is not under the data root")
def test_multi30ks_sentences_survive_being_written_and_taken_apart():
    splits = load_multi30k("en", "de")["train"], load_multi30k("en", "fr")["train"]
    sides = ("en", splits[0].source), ("de", splits[0].target), ("fr", splits[1].target)
    for language, sentences in sides:
        kept = [words.tokenized(words.detokenized(x), language) == " ".join(x.split()) for x in sentences[:3000]]
        assert np.mean(kept) > 0.995, language


def written(folder: Path, source: Sequence[str], target: Sequence[str]) -> translate.Setup:
    """A Setup of two files in a folder."""
    for name, side in (("forth", source), ("back", target)):
        (folder / name).write_text("".join(f"{line}\n" for line in side))
    return replace(SMALL, source=str(folder / "forth"), target=str(folder / "back"), byte_pairs=259)


def reversed_letters(folder: Path, seed: int = 0, count: int = 1500) -> translate.Setup:
    """Sentences of letters, and the same backwards, for a net of one layer."""
    generator = np.random.default_rng(seed)
    texts = [" ".join(generator.choice(list("abcdefgh"), generator.integers(3, 7))) for _ in range(count)]
    setup = written(folder, texts, [text[::-1] for text in texts])
    net = {"byte_pairs": 267, "layers": 1, "width": 32, "hidden": 64, "heads": 2, "buckets": (8,), "tokens": 320}
    return replace(setup, **net, held_out=76 / count, evaluation_batch=38)


LEARNED = translate.Hyper(learning_rate=1.5e-2, warmup=0.1, length_penalty=0.3)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A run that has learned to say letters backwards."""
    out = tmp_path_factory.mktemp("runs")
    return run(Plan(TRANSLATE, reversed_letters(out), (Row(0, LEARNED),), Budget(400, 200, 200, 400)), out)


def test_it_learns_to_say_letters_backwards(learned):
    validation, test = read_lines(learned / "evaluations.jsonl")
    assert validation["validation_tokenized_bleu"] > 95 and test["test_tokenized_bleu"] > 95
    assert test["test_detokenized_bleu"] > 95 and test["test_loss"] < 0.5
    assert Image.open(learned / "pictures" / "validation_attention-00000400.png").size[0] > 4 * pictures.CELL


def test_a_users_sentences_are_translated_line_by_line(learned):
    """A mark of byte order before the first is none of its text."""
    sentences = ["a b c d", "h g f e d c", "", "b  b a"]
    code, text, said = script("translate.py", learned, "--batch", 3, given="\ufeff" + "\n".join(sentences) + "\n")
    assert code == 0 and "sentences are taken as they are" in said, said
    assert text.split("\n") == ["d c b a", "c d e f g h", "", "a b b", ""]


def test_the_test_sentences_are_scored_and_runs_compared(learned, tmp_path):
    code, text, said = script("translate.py", learned, "--score")
    (last,) = (line for line in read_lines(learned / "evaluations.jsonl") if line.get("final"))
    assert code == 0 and text.startswith("38 test sentences\n"), said
    printed = dict(re.findall(r"(\w+_bleu)  ([\d.]+) \[.*, seed 0, beam 1, length penalty 0.3\n", text))
    recorded = {kind: f"{last[f'test_{kind}']:.2f}" for kind in bleu.KINDS}
    assert printed == recorded, text
    code, text, said = script("translate.py", learned, "--against", learned, "--length-penalty", 0)
    assert code == 0 and text.count("+0.00 [+0.00, +0.00]  difference, p = 1.000") == 2, said
    assert text.count("seed 0, beam 1, length penalty 0\n") == 4
    # A run of other texts, as far as its folder tells.
    other, setup = tmp_path / "other", reversed_letters(tmp_path, seed=1)
    shutil.copytree(learned, other)
    manifest = read_manifest(other)
    manifest["setup"] |= {"source": setup.source, "target": setup.target}
    write_json(other / MANIFEST, manifest | {"data": data_hash(load(setup))})
    code, _, said = script("translate.py", learned, "--against", other)
    assert code == 2 and "are tested on other texts" in said, said
    Path(setup.source).write_text(Path(setup.target).read_text())
    code, text, said = script("translate.py", other, "--score")
    assert code == 2 and "was trained on other data than there are now" in said and not text, said


def test_the_script_says_what_does_not_fit(learned, tmp_path):
    for arguments, given, printed, told in (
        (
            [learned, "--batch", 3, "--beam", 1],
            "a b c\na b c d e f g h a b\n",
            "c b a\n",
            "line 2: 10 tokens are more than the 7 that this run can read",
        ),
        (
            [learned, "--batch", 3, "--beam", 1],
            b"a b c\n\xff\n",
            "c b a\n",
            "standard input, line 2: byte 0xFF is not UTF-8",
        ),
        ([learned, "--beam", 0], "", "", "beam=0 must be at least 1"),
        ([tmp_path], "", "", "so it is no translation's run"),
    ):
        code, text, said = script("translate.py", *arguments, given=given)
        assert code == 2 and told in said and text == printed, said


BAD_SETUPS = {
    "lengths": ({}, ["a"], ["a", "b"], r"back has 2 lines and .*forth has 1: line 2 of .*back has no partner"),
    "empty": ({}, [], ["a"], "forth is empty"),
    "few": ({}, ["a", "b"], ["b", "a"], "leaves none to train, to validate or to test; give at least 3 of them"),
    "mixed": ({"source": "en"}, ["a"], ["a"], "one is a language of Multi30k and the other a file"),
    "missing": ({"source": "nowhere"}, ["a"], ["a"], "nowhere is not a file"),
    "vocabulary": ({"byte_pairs": 100}, ["a b"] * 40, ["b a"] * 40, "byte_pairs=100 is less than 259"),
    "large": ({"byte_pairs": 9000}, ["a b"] * 40, ["b a"] * 40, "byte_pairs=9000 is more than the text yields"),
    "buckets": ({"buckets": (8, 4)}, ["a"], ["a"], r"buckets=\(8, 4\) must rise"),
    "batch": (
        {"tokens": 100},
        ["a"],
        ["a"],
        "tokens=100 is less than 8 sentences of the bucket of 24; give at least 192",
    ),
    "heads": ({"heads": 3}, ["a"], ["a"], "heads=3 does not divide width=8"),
}


@pytest.mark.parametrize("what", BAD_SETUPS)
def test_bad_input_is_named(what, tmp_path, monkeypatch):
    changed, source, target, said = BAD_SETUPS[what]
    monkeypatch.chdir(tmp_path)
    setup = replace(
        written(tmp_path, source, target), **{"source": "forth", "target": "back", "byte_pairs": 320} | changed
    )
    with pytest.raises(ValueError, match=said):
        translate.make(setup)
        load(setup)


def test_a_note_counts_what_does_not_fit(tmp_path):
    """By hand: with a space before each letter, 4 letters and END are 9 of the first bucket's 10 tokens, and 8 are 17."""
    short, full, long = "a b c d", " ".join("abcdefghijk") + "l", " ".join("abcdefghijkl")  # 8, 23 and 24 tokens
    source = [*[short] * 29, full, long, short, *[short, long, full], *[short, long, long]]
    target = [*[short] * 31, long, *[full, short, short], *[long, short, full]]
    setup = replace(written(tmp_path, source, target), buckets=(10, 24), held_out=6.1 / 38)
    note = load(setup).note
    assert note.startswith(
        "32 pairs, of which 2 have more than 23 tokens and are left out; the 1 in the bucket of 24 are read 8 times an epoch; "
        "of 3 and 3 held-out sentences 1 and 2 are cut there, and 0 and 1 references go on where translations end. "
    )
    assert "of the text as it stands" in note


def test_multi30k_is_learned_from_and_judged_on_its_own_parts(monkeypatch):
    train, validation, test = pairs_of(SMALL)
    parts = {"test_2017_flickr": train, "test_2016_flickr": test, "val": validation, "train": train}
    monkeypatch.setattr(
        recipe, "load_multi30k", lambda source, target: parts if (source, target) == ("en", "de") else {}
    )
    found, own = load(replace(SMALL, source="en", target="de")), load(SMALL)
    for part in ("data", "final"):
        for ours, theirs in zip(*(jax.tree.leaves(getattr(x, part)) for x in (found, own)), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert "tokenized_bleu is tokenised, lowercased BLEU" in found.note and "as it stands" in own.note


@pytest.mark.parametrize("count", [3, 7, 10, 19, 20, 40])
def test_the_share_that_is_offered_holds_out_two(count, tmp_path):
    setup = written(tmp_path, ["a"] * count, ["b"] * count)
    with pytest.raises(ValueError, match="leaves none to train") as refused:
        pairs_of(replace(setup, held_out=1.0 / count))
    (share,) = re.findall(r"give held_out=([\d.]+)", str(refused.value))
    assert sum(len(part.source) for part in pairs_of(replace(setup, held_out=float(share)))) == count


def test_shares_that_leave_nothing_are_refused():
    hyper = translate.Hyper()
    for setup, hypers in (
        (replace(SMALL, dropout=1.0), hyper),
        (SMALL, hyper._replace(beta1=1.0)),
        (SMALL, hyper._replace(beta2=1.0)),
    ):
        with pytest.raises(ValueError, match="=1.0 must be at least 0 and below 1"):
            Plan(TRANSLATE, setup, (Row(0, hypers),), Budget(1, 1, 1, 1))


def test_no_byte_of_an_encoding_is_lost_in_the_table_of_spellings():
    data = inputs().data
    vocabulary = from_json(inputs().files["vocabulary.json"])
    sentence = "größe, naïve 語 ☂ <x>"
    tokens = vocabulary.encode(f" {sentence}")
    assert spelt_out(np.array([[*tokens, END, PADDING]]), data.spellings) == [sentence]


def test_half_precision_keeps_the_state_whole():
    """Traced alone, which is where strict promotion speaks."""
    setup = replace(SMALL, compute_dtype="bfloat16", dropout=0.1, buckets=(24,))
    data = load(setup).data
    experiment = translate.make(setup)
    state = jax.eval_shape(experiment.init, KEY, HYPER, data)
    after, metrics = jax.eval_shape(experiment.step, state, HYPER, data, Tick(jnp.int32(0), jnp.int32(10), KEY))
    assert jax.tree.map(lambda x: x.dtype, after) == jax.tree.map(lambda x: x.dtype, state)
    assert {x.dtype for x in jax.tree.leaves((after.params, metrics))} == {jnp.dtype(jnp.float32)}
    outputs = jax.eval_shape(experiment.evaluate, KEY, state, HYPER, data)
    assert outputs.nats.dtype == outputs.attention.dtype == jnp.float32
