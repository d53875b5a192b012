"""Translation: Multi30k's captions of pictures, or any two files of which line n means line n."""

from dataclasses import replace
from itertools import chain

import numpy as np

from research.data.pairs import Buckets, Pairs, bucket_rows, bucketed, held_out_parts, load_multi30k, load_pairs, padded
from research.data.vocabulary import END, PADDING, Vocabulary, byte_pairs, files_of, spelling_table
from research.engine.experiment import Inputs
from research.engine.plan import Budget, Recipe
from research.language import pictures, translate


def load(setup: translate.Setup) -> Inputs:
    """Pairs in buckets and held-out ones, and their vocabulary for whoever translates with the run."""
    train, validation, test = pairs_of(setup)
    vocabulary = byte_pairs(map(spaced, chain(*train)), setup.byte_pairs, special=True)
    sides = [[vocabulary.encode(spaced(text)) for text in side] for side in train]
    longest = setup.buckets[-1]
    buckets, left_out = bucketed(sides[0], sides[1], setup.buckets, setup.tokens, multiple=translate.multiple(setup))
    (held_out, *beyond), (final, *beyond_final) = (hold_out(vocabulary, part, longest) for part in (validation, test))
    data = translate.Data(buckets, held_out, spelling_table(vocabulary.spellings))
    kinds = "tokenized_bleu takes as words what spaces part; detokenized_bleu is of the text as it stands"
    if translate.of_multi30k(setup):
        kinds = (
            "Multi30k's text is lowercased and tokenised, so tokenized_bleu is tokenised, lowercased BLEU; "
            "detokenized_bleu is of the text put together again"
        )
    note = (
        f"{len(train.source)} pairs, of which {left_out} have more than {longest - 1} tokens and are left out"
        f"{often_read(setup, buckets)}; of {len(validation.source)} and {len(test.source)} held-out sentences {beyond[0]} "
        f"and {beyond_final[0]} are cut there, and {beyond[1]} and {beyond_final[1]} references go on where translations "
        f"end. {kinds}, by sacrebleu's tokeniser 13a."
    )
    return Inputs(data, data._replace(held_out=final), note, files=files_of(vocabulary))


def often_read(setup: translate.Setup, buckets: Buckets) -> str:
    """Names the buckets whose pairs are read at least twice an epoch, because too few of them fill a batch."""
    told = ""
    for (source, _), batches in zip(buckets.tables, buckets.counts.tolist(), strict=True):
        count, length = source.shape
        times = batches * bucket_rows(length, setup.tokens, translate.multiple(setup)) / count
        if times >= 2:
            told += f"; the {count} in the bucket of {length} are read {times:.0f} times an epoch"
    return told


def pairs_of(setup: translate.Setup) -> tuple[Pairs, Pairs, Pairs]:
    """Training, validation and test pairs. Raises ValueError where a part would be empty."""
    if translate.of_multi30k(setup):
        splits = load_multi30k(setup.source, setup.target)
        return splits["train"], splits["val"], splits["test_2016_flickr"]
    pairs = load_pairs(setup.source, setup.target)
    parts = held_out_parts(len(pairs.source), setup.held_out, f"pairs of {setup.source}")
    return tuple(Pairs(*(side[part] for side in pairs)) for part in parts)


def spaced(text: str) -> str:
    """Every word with a space before it, so that a line's first word has the tokens that it has elsewhere."""
    return "".join(f" {word}" for word in text.split())


def hold_out(vocabulary: Vocabulary, pairs: Pairs, longest: int) -> tuple[translate.HeldOut, int, int]:
    """Held-out pairs as tokens, how many sources had to be cut to fit, and how many references no translation can reach."""
    source, target = ([vocabulary.encode(spaced(text)) for text in side] for side in pairs)
    size = min(longest, max(map(len, source)) + 1)
    table = padded([sentence[: size - 1] for sentence in source], size)
    goals = padded(target, max(map(len, target)) + 2, begin=True)
    cut, beyond = (sum(len(sentence) >= longest for sentence in side) for side in (source, target))
    return translate.HeldOut(table, goals), cut, beyond


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


TRANSLATE = Recipe(
    name="translate",
    make=translate.make,
    setup=translate.Setup(layers=3, byte_pairs=6000, tokens=2048, dropout=0.2),
    # Half the published rate, for a quarter of its batch.
    hyper=translate.Hyper(learning_rate=2.5e-3, warmup=0.1),
    load=load,
    budget=Budget(steps=6000, chunk=50, record_every=50, evaluate_every=500),
    watch=("validation_tokenized_bleu", "test_tokenized_bleu", "validation_loss", "loss"),
    pictures=drawn,
    about="""A small Transformer that translates Multi30k's English captions to German, cut to what 2 cores do in an hour.

    One seed: tokenised, lowercased BLEU on test2016 37.2 greedy, 95 % interval over sentences [35.4, 38.7]; 37.7 [36.0, 39.3]
    with 5 hypotheses. After 1000, 2000, 3000 and 6000 updates 20.4, 29.5, 33.3 and 37.0 on the validation part. 46 minutes
    of one core's time of an AMD EPYC; 73 by the clock, because other work had half of it.

    python scripts/train.py translate
    python scripts/train.py translate --setup.source my.en --setup.target my.fr
    python scripts/translate.py runs/translate-... < sentences.txt""",
)

TINY = replace(
    TRANSLATE,
    name="translate-tiny",
    setup=translate.Setup(byte_pairs=9708, tokens=8192, accumulation=2),
    hyper=translate.Hyper(),
    budget=Budget(steps=8000, chunk=100, record_every=100, evaluate_every=500),
    about="""Transformer-Tiny on Multi30k, English to German, with the sizes and the schedule of the published recipe, for which
    BLEU on test2016 is 41.02, tokenised and lowercased, with 5 hypotheses. Of our own are the average of later parameters in
    place of the last ten epochs' checkpoints, byte pairs of bytes, and 8000 updates whatever validation says. For an
    accelerator: on CPU cores it takes hours. No result is claimed yet.

    python scripts/train.py translate-tiny --setup.beam 5""",
)
