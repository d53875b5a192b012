"""BLEU (Papineni et al. 2002) by sacrebleu (Post 2018), and how sure it is, by a bootstrap over sentences.

Two figures, which are not to be compared with each other. Their signatures in sacrebleu's notation:

tokenized_bleu    over words and signs as they stand in the text, where a space parts them; of lowercased text such as
                  Multi30k's it is "tokenised, lowercased": nrefs:1|case:mixed|eff:no|tok:none|smooth:exp
detokenized_bleu  over text as people write it, which sacrebleu tokenises itself: nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp
                  Text that is tokenised already, as Multi30k's is, is first put together by `words.detokenized`,
                  translation and reference alike; other text is taken as it stands.

Dimensions: N sentences, K resamples.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sacrebleu.metrics.bleu import BLEU

from research.language.words import detokenized

KINDS = {"tokenized_bleu": "none", "detokenized_bleu": "13a"}
ORDER = 4
LEVEL = 0.95


class Interval(NamedTuple):
    """A figure and its bootstrap interval."""

    value: float
    low: float
    high: float


def counts(kind: str, translations: Sequence[str], references: Sequence[str], tokenized: bool = False) -> np.ndarray:
    """What BLEU adds up over sentences -> i64[N,10]: n-grams that match and n-grams for n = 1 to 4, both lengths.

    tokenized  whether the texts have words and signs apart, as Multi30k's
    """
    scorer = BLEU(tokenize=KINDS[kind], force=True)
    put = detokenized if tokenized and kind == "detokenized_bleu" else str
    found = [
        scorer.corpus_score([put(translation)], [[put(reference)]])
        for translation, reference in zip(translations, references, strict=True)
    ]
    return np.array([[*one.counts, *one.totals, one.sys_len, one.ref_len] for one in found], np.int64)


def bleu(total: np.ndarray) -> float:
    """BLEU, 0 to 100, of counts that were added up, i64[10]."""
    *ngrams, length, reference_length = total.tolist()
    score = BLEU.compute_bleu(
        ngrams[:ORDER], ngrams[ORDER:], length, reference_length, smooth_method="exp", max_ngram_order=ORDER
    )
    return float(score.score)


def interval(found: np.ndarray, resamples: int = 1000, seed: int = 0) -> Interval:
    """BLEU of counts i64[N,10] and its 95 % percentile interval over resampled sentences (Koehn 2004).

    It says how much the figure depends on which sentences were asked, not on the run's seed.
    """
    drawn = [bleu(total) for total in resampled(found, resamples, seed)]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(bleu(found.sum(0)), float(low), float(high))


def paired(one: np.ndarray, other: np.ndarray, resamples: int = 1000, seed: int = 0) -> tuple[Interval, float]:
    """How much better `one` is than `other` on the same sentences, both i64[N,10] -> difference, p.

    Both are resampled alike (Koehn 2004). p is the share of resamples whose difference, moved so that their mean is 0, is
    at least as large, in either direction, as the one found (Riezler and Maxwell 2005). Where all resamples agree which is
    better, sacrebleu's own p counts one direction alone and is about half of this.
    """
    pairs = zip(resampled(one, resamples, seed), resampled(other, resamples, seed), strict=True)
    drawn = np.array([bleu(x) - bleu(y) for x, y in pairs])
    found = bleu(one.sum(0)) - bleu(other.sum(0))
    p = (1 + int((np.abs(drawn - drawn.mean()) >= abs(found)).sum())) / (1 + resamples)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(found, float(low), float(high)), p


def resampled(found: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Sums over N sentences drawn with replacement: i64[N,10] -> i64[K,10]; equal seeds draw the same sentences."""
    generator, count = np.random.default_rng(seed), len(found)
    return (
        np.stack([np.bincount(generator.integers(count, size=count), minlength=count) for _ in range(resamples)])
        @ found
    )
