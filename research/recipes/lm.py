"""Language models: any text, and nanoGPT's two settings for the characters of tiny Shakespeare."""

from dataclasses import replace

import numpy as np

from research.data.pairs import sst2_text
from research.data.text import Crops, load_text, stream_text
from research.data.vocabulary import files_of
from research.engine.experiment import Inputs
from research.engine.plan import Budget, Recipe
from research.language import lm


def load(setup: lm.Setup) -> Inputs:
    """Tokens of a text, whole or as a feed, and its vocabulary for whoever generates text from the run."""
    read = stream_text if setup.streamed else load_text
    text = read(sst2_text() if setup.text == "sst2" else setup.text, setup.byte_pairs or None, setup.validation)
    held_out = np.array(text.validation[: setup.held_out])
    for name, tokens, repair in (
        ("training", text.train, "a longer text, or a smaller context"),
        ("held-out", held_out, "a longer text, a larger validation or held_out, or a smaller context"),
    ):
        if len(tokens) <= setup.context:
            raise ValueError(
                f"the {name} part of text={setup.text!r} has {len(tokens)} tokens, and context={setup.context} needs at "
                f"least {setup.context + 1}; give {repair}"
            )
    lengths = np.array([len(spelling) for spelling in text.vocabulary.spellings], np.int32)
    files = files_of(text.vocabulary)
    if not setup.streamed:
        return Inputs(lm.Data(text.train, held_out, lengths), files=files)
    data = lm.Data(np.zeros(0, text.train.dtype), held_out, lengths)
    note = f"crops streamed from text {text.digest}, the same for every seed"
    return Inputs(data, note=note, files=files, feed=Crops(text.train, setup.batch_size, setup.context))


LM = Recipe(
    name="lm",
    make=lm.make,
    setup=lm.Setup(),
    hyper=lm.Hyper(),
    load=load,
    budget=Budget(steps=2000, chunk=50, record_every=50, evaluate_every=250),
    watch=(
        "validation_loss",
        "best_noisy_validation_loss",
        "noisy_validation_loss",
        "validation_bits_per_byte",
        "loss",
    ),
    best="-noisy_validation_loss",
    about="""A language model of any text in UTF-8, by characters or byte pairs, with a Transformer or a recurrent layer.

    python scripts/train.py lm --setup.text my.txt --setup.byte-pairs 2048
    python scripts/generate.py runs/lm-... --prompt "Once" """,
)

# nanoGPT's settings for the characters of tiny Shakespeare; its rate rises from the first update on over 100 updates.
NANOGPT_CPU = replace(
    LM,
    name="nanogpt-char-cpu",
    about="""nanoGPT's small setting for tiny Shakespeare: 4 layers of 128, context 64, 2000 updates of 12 crops.

    Over 5 seeds: exact validation loss 1.908 nats a character, 95 % interval [1.892, 1.924]; the best noisy one, as nanoGPT
    tells it, 1.911 [1.879, 1.944], beside its one printed run of 1.88. 109 s a seed on 2 cores of an AMD EPYC, while
    other work ran. At four times its learning rate 1.777 [1.765, 1.790] and 1.782 [1.751, 1.813], and with a GRU in place
    of attention 1.573 [1.565, 1.580]: see the study recurrent-rivals.

    python scripts/train.py nanogpt-char-cpu --seeds 5
    python scripts/train.py nanogpt-char-cpu --hyper.learning-rate 4e-3 --setup.mixer gru --setup.hidden 384""",
)

NANOGPT_GPU = replace(
    LM,
    name="nanogpt-char-gpu",
    setup=lm.Setup(
        layers=6,
        heads=6,
        width=384,
        hidden=1536,
        context=256,
        batch_size=64,
        dropout=0.2,
        compute_dtype="bfloat16",
        evaluation_batches=200,
    ),
    hyper=lm.Hyper(warmup=0.02),
    budget=Budget(steps=5000, chunk=50, record_every=50, evaluate_every=250),
    about="""nanoGPT's larger setting for tiny Shakespeare, for an accelerator: 6 layers of 384, context 256, 5000 updates of
    64 crops.

    python scripts/train.py nanogpt-char-gpu""",
)

RECIPES = (LM, NANOGPT_CPU, NANOGPT_GPU)
