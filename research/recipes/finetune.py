"""Classification of sentences by a pretrained language model: SST-2, or any file of sentences with labels."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from research.data.pairs import TOGETHER, Labelled, fill_buckets, held_out_parts, load_labelled, load_sst2, padded
from research.data.vocabulary import Vocabulary, byte_pairs, files_of, of_run, spelling_table
from research.engine import saved
from research.engine.experiment import Inputs
from research.engine.plan import Budget, Recipe
from research.language import finetune
from research.recipes.lm import RECIPES

CLASSES = "classes.json"


def load(setup: finetune.Setup) -> Inputs:
    """Sentences in buckets and held-out ones, the pretrained net, and what a reader of the run's states needs."""
    train, validation, test = parts_of(setup)
    folder = Path(setup.pretrained).expanduser()
    if setup.pretrained:
        net, vocabulary, told = pretrained(setup, folder)
    else:
        net, told = {}, "a new net"
        vocabulary = byte_pairs((f"{text}\n" for text in train.texts), setup.byte_pairs)
    longest = setup.buckets[-1]
    names = [f"sst2/{name}.tsv" if setup.data == "sst2" else setup.data for name in ("train", "dev", "test")]
    sentences, *others = [encoded(vocabulary, *one) for one in zip((train, validation, test), names, strict=True)]

    def table(members: list[int], length: int) -> tuple[np.ndarray, np.ndarray]:
        return fitted([sentences[n] for n in members], length), train.labels[members]

    need = np.array([min(len(x), longest) for x in sentences], np.int64)
    buckets, _ = fill_buckets(need, table, setup.buckets, setup.tokens, multiple=TOGETHER)
    held_out, final = (
        finetune.HeldOut(fitted(other, longest), part.labels)
        for other, part in zip(others, (validation, test), strict=True)
    )
    counts = np.bincount(train.labels, minlength=len(train.classes)).astype(np.int32)
    data = finetune.Data(buckets, held_out, net, counts, spelling_table(vocabulary.spellings))
    common = [100 * (part.labels == counts.argmax()).mean() for part in (validation, test)]
    cut = sum(len(x) > longest for x in sentences)
    note = (
        f"{told}; {len(train.texts)} sentences, of which {cut} are cut to {longest} tokens; of {len(validation.texts)} and "
        f"{len(test.texts)} held-out ones {common[0]:.1f} % and {common[1]:.1f} % have the most frequent label"
    )
    files = files_of(vocabulary) | {CLASSES: json.dumps(train.classes) + "\n"}
    return Inputs(data, data._replace(held_out=final), note, files=files)


def parts_of(setup: finetune.Setup) -> tuple[Labelled, Labelled, Labelled]:
    """Sentences to learn from, to validate and to test. Raises ValueError where a part would be empty or all are alike."""
    if setup.data == "sst2":
        splits = load_sst2()
        return splits["train"], splits["dev"], splits["test"]
    if not Path(setup.data).expanduser().is_file():
        raise ValueError(
            f"data={setup.data!r} is neither sst2 nor a file; give the path of lines: a text, a tab, a label"
        )
    whole = load_labelled(setup.data)
    parts = held_out_parts(len(whole.texts), setup.held_out, f"sentences of {setup.data}")
    if len(whole.classes) < 2:
        raise ValueError(f"every sentence of {setup.data} has the label {whole.classes[0]!r}; give two labels or more")
    held_out = slice(parts[1].start, parts[2].stop)
    for some, what in ((whole.labels[parts[0]], "to learn from"), (whole.labels[held_out], "held out")):
        if len(np.unique(some)) < (len(whole.classes) if what == "to learn from" else 2):
            known = [whole.classes[label] for label in np.unique(some)]
            raise ValueError(
                f"of the labels {', '.join(whole.classes)} of {setup.data} the sentences {what} have {', '.join(known)} "
                "alone: the last ones of a file are held out; shuffle its lines"
            )
    return tuple(Labelled(whole.texts[part], whole.labels[part], whole.classes, whole.lines[part]) for part in parts)


def encode(vocabulary: Vocabulary, text: str, place: str) -> np.ndarray:
    """A sentence as a line of its own, as the language model has read it: between two ends of lines -> int[L]

    Raises ValueError, naming the place where the sentence stands, for a character that the vocabulary has not."""
    try:
        return vocabulary.encode(f"\n{text.strip()}\n")
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def encoded(vocabulary: Vocabulary, part: Labelled, name: str) -> list[np.ndarray]:
    places = zip(part.texts, part.lines.tolist(), strict=True)
    return [encode(vocabulary, text, f"{name}, line {line}") for text, line in places]


def fitted(sentences: list[np.ndarray], length: int) -> np.ndarray:
    """int[L] each, cut where it is longer -> i32[N,length], ABSENT behind the end"""
    return padded([sentence[:length] for sentence in sentences], length, end=False, filler=finetune.ABSENT)


def pretrained(setup: finetune.Setup, folder: Path) -> tuple[finetune.Net, Vocabulary, str]:
    """The best state of a run of `lm`, its vocabulary, and what it is in words.

    Raises ValueError where the folder holds no such run, or one of another net than the setup's.
    """
    plan = saved.plan_in(folder, RECIPES, "pretrained")
    others = {name: getattr(plan.setup, name) for name in finetune.NET}
    differ = {name: x for name, x in others.items() if x != getattr(setup, name)}
    if differ:
        flags = " ".join(flag(name, x) for name, x in differ.items())
        raise ValueError(f"pretrained={str(folder)!r} is another net than this setup's; give {flags}")
    state, tick, _ = saved.living_state(plan, folder, "pretrained", best=True)
    net: Any = finetune.net_of(state.params)
    text = f"{plan.setup.text}, {tick} of {plan.ticks} updates"
    return net, of_run(folder, "run of lm"), f"pretrained by {folder.name}, seed {plan.rows[0].seed} ({text})"


def flag(name: str, value: Any) -> str:
    """How a field is set on the command line."""
    option = f"--setup.{name.replace('_', '-')}"
    return f"{option} {value}" if not isinstance(value, bool) else option if value else f"no {option}"


FINETUNE = Recipe(
    name="finetune",
    make=finetune.make,
    setup=finetune.Setup(),
    hyper=finetune.Hyper(),
    load=load,
    budget=Budget(steps=600, chunk=50, record_every=50, evaluate_every=150),
    watch=(
        "test_accuracy",
        "validation_accuracy",
        "validation_loss",
        "test_calibration_error",
        "test_trained_share",
        "loss",
    ),
    about="""Sentences into classes, by a language model that has read unlabelled text before.

    SST-2, 600 updates, 5 seeds, test accuracy: from nothing 70.1 % [68.7, 71.5]; of a net that had read the same sentences
    without labels the head alone 62.9 % [62.1, 63.7], head and last block 66.7 % [65.9, 67.6], LoRA with 2.4 % of the weights
    67.2 % [66.1, 68.3], and all of it 76.4 % [75.5, 77.3]. 24 to 87 s a seed of one core. See the study finetune.

    python scripts/train.py lm --setup.text sst2 --setup.byte-pairs 4096 --setup.batch-size 24 --setup.dropout 0.1
    python scripts/train.py finetune --setup.pretrained runs/lm-... --setup.mode lora --hyper.learning-rate 3e-3 --seeds 5
    python scripts/train.py finetune --setup.data my.tsv           # from nothing
    python scripts/explain.py runs/finetune-... < sentences.txt""",
)
