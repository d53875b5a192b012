"""Translation: Multi30k's captions of pictures, or any two files of which line n means line n."""

from itertools import chain

import numpy as np

from research.data.pairs import Pairs, bucketed, load_multi30k, load_pairs, padded
from research.data.vocabulary import END, PADDING, Vocabulary, byte_pairs
from research.engine.experiment import Inputs
from research.engine.plan import Budget, Recipe
from research.language import pictures, translate

VOCABULARY = "vocabulary.json"


def load(setup: translate.Setup) -> Inputs:
    """Pairs in buckets and held-out ones, and their vocabulary for whoever translates with the run."""
    train, validation, test = pairs_of(setup)
    vocabulary = byte_pairs(map(spaced, chain(*train)), setup.byte_pairs, special=True)
    sides = [[vocabulary.encode(spaced(text)) for text in side] for side in train]
    room = translate.multiple(setup)
    buckets, left_out = bucketed(sides[0], sides[1], setup.buckets, setup.tokens, multiple=room)
    (held_out, cut), (final, cut_final) = (hold_out(vocabulary, part, setup.buckets[-1]) for part in (validation, test))
    data = translate.Data(buckets, held_out, translate.table_of(vocabulary.spellings))
    kinds = "tokenized_bleu takes as words what spaces part; detokenized_bleu is of the text as it stands"
    if translate.of_multi30k(setup):
        kinds = (
            "Multi30k's text is lowercased and tokenised, so tokenized_bleu is tokenised, lowercased BLEU; "
            "detokenized_bleu is of the text put together again"
        )
    note = (
        f"{len(train.source)} pairs, of which {left_out} are longer than {setup.buckets[-1]} tokens and left out; of "
        f"{len(validation.source)} and {len(test.source)} held-out sentences {cut} and {cut_final} are cut. "
        f"{kinds}, by sacrebleu's tokeniser 13a."
    )
    return Inputs(data, data._replace(held_out=final), note, files={VOCABULARY: vocabulary.to_json() + "\n"})


def pairs_of(setup: translate.Setup) -> tuple[Pairs, Pairs, Pairs]:
    """Training, validation and test pairs. Raises ValueError where a part would be empty."""
    if translate.of_multi30k(setup):
        splits = load_multi30k(setup.source, setup.target)
        return splits["train"], splits["val"], splits["test_2016_flickr"]
    pairs = load_pairs(setup.source, setup.target)
    count = len(pairs.source)
    out = int(count * setup.held_out)
    first, last = count - out, count - out // 2
    if not 0 < first < last < count:
        raise ValueError(
            f"held_out={setup.held_out} of the {count} pairs of {setup.source} leaves none to train, to validate or to test; "
            "give at least 3 pairs and a share such as 0.1"
        )
    parts = (slice(first), slice(first, last), slice(last, count))
    return tuple(Pairs(*(side[part] for side in pairs)) for part in parts)


def spaced(text: str) -> str:
    """Every word with a space before it, so that a line's first word has the tokens that it has elsewhere."""
    return "".join(f" {word}" for word in text.split())


def hold_out(vocabulary: Vocabulary, pairs: Pairs, longest: int) -> tuple[translate.HeldOut, int]:
    """Held-out pairs as tokens, and how many sources had to be cut to fit."""
    source, target = ([vocabulary.encode(spaced(text)) for text in side] for side in pairs)
    size = min(longest, max(map(len, source)) + 1)
    table = padded([sentence[: size - 1] for sentence in source], size)
    goals = padded(target, max(map(len, target)) + 2, begin=True)
    return translate.HeldOut(table, goals), sum(len(sentence) >= longest for sentence in source)


def drawn(outputs: translate.Outputs, data: translate.Data) -> dict[str, np.ndarray]:
    """Where row 0's translation of the first held-out sentence looks, layer by layer -> u8[H,W,3]"""
    spellings = outputs.spellings[0]
    source, target = (tokens_of(x, spellings) for x in (data.held_out.source[0], outputs.translation[0, 0]))
    return {"attention": pictures.attention_maps(outputs.attention[0], source, target)}


def tokens_of(sentence: np.ndarray, spellings: np.ndarray) -> list[str]:
    """Each token of a sentence i32[S] up to and with END."""
    known = sentence[sentence != PADDING]
    spelt = (bytes(spellings[token]).rstrip(b"\0").decode("utf-8", "replace").strip() for token in known)
    return ["END" if token == END else text for token, text in zip(known.tolist(), spelt, strict=True)]


def recipe(name: str, setup: translate.Setup, hyper: translate.Hyper, budget: Budget, about: str) -> Recipe:
    return Recipe(
        name=name,
        make=translate.make,
        setup=setup,
        hyper=hyper,
        load=load,
        budget=budget,
        watch=("validation_tokenized_bleu", "test_tokenized_bleu", "validation_loss", "loss"),
        pictures=drawn,
        about=about,
    )


TRANSLATE = recipe(
    "translate",
    translate.Setup(layers=3, byte_pairs=6000, tokens=2048, dropout=0.2),
    # Half the published rate, for a quarter of its batch.
    translate.Hyper(learning_rate=2.5e-3, warmup=0.1),
    Budget(steps=6000, chunk=50, record_every=50, evaluate_every=500),
    about="""A small Transformer that translates Multi30k's English captions to German, cut to what 2 cores do in an hour.
    No result is claimed yet.

    python scripts/train.py translate
    python scripts/train.py translate --setup.source my.en --setup.target my.fr
    python scripts/translate.py runs/translate-... < sentences.txt""",
)

TINY = recipe(
    "translate-tiny",
    translate.Setup(byte_pairs=9708, tokens=8192, accumulation=2),
    translate.Hyper(),
    Budget(steps=8000, chunk=100, record_every=100, evaluate_every=500),
    about="""Transformer-Tiny on Multi30k, English to German, with the sizes and the schedule of the published recipe, for which
    BLEU on test2016 is 41.02, tokenised and lowercased, with 5 hypotheses. Of our own are the average of later parameters in
    place of the last ten epochs' checkpoints, byte pairs of bytes, and 8000 updates whatever validation says. For an
    accelerator: on CPU cores it takes hours. No result is claimed yet.

    python scripts/train.py translate-tiny --setup.beam 5""",
)

RECIPES = (TRANSLATE, TINY)
