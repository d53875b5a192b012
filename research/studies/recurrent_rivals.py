"""A Transformer and its recurrent rivals on the characters of tiny Shakespeare, with equally many weights and updates.

Every arm is the same stack of blocks; only what mixes positions differs. With width C a mixer has between 2 and 8 C^2
weights, and the feed-forward layer is as wide as makes 12 C^2 of each block. All learn at four times nanoGPT's rate, by the
loss of one further seed: of 1, 2, 4 and 8 thousandths 4 was best for the Transformer and the LSTM, of 1, 2 and 4 it was for
the GRU and the minGRU.

python scripts/reproduce.py recurrent-rivals
"""

from research.recipes.lm import NANOGPT_CPU
from research.studies.study import Arm, Block, Preset, Study

WIDTH = NANOGPT_CPU.setup.width
# Weights of each mixer, in C^2: attention's four matrices; input and recurrent matrices of each gate; minimal layers have
# no recurrent matrices.
WEIGHTS = {"attention": 4, "lstm": 8, "gru": 6, "mingru": 2, "minlstm": 3, "elman": 2}
NAMES = {
    "attention": "Transformer",
    "lstm": "LSTM",
    "gru": "GRU",
    "mingru": "minGRU",
    "minlstm": "minLSTM",
    "elman": "Elman",
}


def hidden(mixer: str) -> int:
    """Width of the feed-forward layer, which has 2 C weights for each of its units."""
    return (12 - WEIGHTS[mixer]) * WIDTH // 2


STUDY = Study(
    name="recurrent-rivals",
    question="Do recurrent layers keep up with attention, at equal numbers of weights and updates?",
    blocks=(Block("tiny Shakespeare", Preset(NANOGPT_CPU, {"steps": 250})),),
    arms=tuple(
        Arm(NAMES[mixer], {"mixer": mixer, "hidden": hidden(mixer)}, {"learning_rate": 4e-3}) for mixer in WEIGHTS
    ),
    seeds=5,
    figure="validation_loss",
    beside=("best_noisy_validation_loss",),
)
