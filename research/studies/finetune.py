"""What reading unlabelled text first is worth on SST-2, and how much of the net must learn to have it.

The text is SST-2's own training sentences without their labels, so that nothing but the order of words is added. Every arm
makes the same number of updates; its learning rate is the best of three, a factor of about three apart, by the accuracy on
SST-2's validation part of one further seed. All arms that begin from a net that has read begin from the same one: their
intervals are over fine-tuning alone.

python scripts/reproduce.py finetune
"""

from dataclasses import replace

from research.engine.plan import Budget
from research.recipes.finetune import FINETUNE
from research.recipes.lm import LM
from research.studies.study import Arm, Before, Block, Preset, Study

# The net of `finetune`, with its vocabulary; a tenth of the sentences say when it has read enough.
READER = replace(
    LM,
    setup=replace(LM.setup, text="sst2", byte_pairs=FINETUNE.setup.byte_pairs, dropout=0.1, batch_size=24),
    budget=Budget(2000, chunk=50, record_every=50, evaluate_every=250),
)
QUICK = {"steps": 100, "evaluate_every": 50}

STUDY = Study(
    name="finetune",
    question="What is reading SST-2's sentences without their labels worth, before they are classified?",
    blocks=(Block("SST-2", Preset(FINETUNE, QUICK)),),
    arms=(
        Arm("from nothing", {"pretrained": ""}, {"learning_rate": 3e-4}),
        Arm("head only", {"mode": "head"}, {"learning_rate": 3e-2}),
        Arm("last block", {"mode": "last"}, {"learning_rate": 1e-3}),
        Arm("all", {"mode": "all"}, {"learning_rate": 1e-3}),
        Arm("LoRA", {"mode": "lora"}, {"learning_rate": 3e-3}),
    ),
    seeds=5,
    figure="test_accuracy",
    beside=("test_loss", "test_calibration_error", "test_trained_share"),
    before=Before(Preset(READER, QUICK), "pretrained"),
)
