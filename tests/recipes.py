"""Every recipe of the catalog, and every probe, cut to a size that the contract suite runs in seconds."""

from dataclasses import replace
from pathlib import Path

import jax
from probes import PROBES

from research.catalog import RECIPES, find
from research.engine.experiment import Experiment
from research.engine.plan import Budget, Plan, Recipe, Row

SMALL = Budget(steps=20, chunk=10, record_every=5, evaluate_every=10)

# Pairs of our own: the tests need no data folder.
PHRASES = {
    side: str(Path(__file__).with_name("own") / f"phrases.{name}")
    for side, name in (("source", "en"), ("target", "de"))
}
TRANSLATION = PHRASES | {"byte_pairs": 320, "layers": 1, "heads": 2, "width": 8, "hidden": 8, "buckets": (14, 24)}
TRANSLATION |= {"held_out": 0.05, "evaluation_batch": 4}

# What makes each recipe tiny; a recipe missing here fails the suite, so that none escapes it.
LANGUAGE = {
    "text": str(Path(__file__).parent / "own" / "linear.py"),
    "layers": 1,
    "heads": 2,
    "width": 8,
    "hidden": 16,
} | {
    "context": 6,
    "batch_size": 4,
    "evaluation_batches": 2,
}
IMAGES = {"data": "digits", "generator": (4,), "discriminator": (4,), "batch_size": 4, "samples": 20, "near": 10}
GAMES = str(Path(__file__).with_name("own") / "games.sgf")
BOARD = {"widths": (4, 4), "games": 2, "moves": 2, "replay": 8, "updates": 1, "batch_size": 4}
BOARD |= {"simulations": 3, "contests": 2}
TINY: dict[str, dict] = {
    "finetune": {
        "data": str(Path(__file__).with_name("own") / "opinions.tsv"),
        "byte_pairs": 280,
        "layers": 1,
        "heads": 2,
        "width": 8,
        "hidden": 8,
        "context": 40,
        "buckets": (24, 40),
        "tokens": 320,
        "evaluation_batch": 4,
    },
    "lm": LANGUAGE | {"byte_pairs": 260, "dropout": 0.1, "accumulation": 2, "remat": True},
    "nanogpt-char-cpu": LANGUAGE,
    "nanogpt-char-gpu": LANGUAGE | {"mixer": "lstm"},
    "classify": {"net": "conv32", "batch_size": 8, "evaluation_batch": 60, "cutout": 2, "flip": True},
    "classify-cifar10": {"data": "digits", "net": "lenet", "batch_size": 8, "evaluation_batch": 60, "shift": 1}
    | {"optimizer": "momentum"},
    "rotation-digits": {"batch_size": 8, "evaluation_batch": 60},
    "vae": {"widths": (8,), "latent": 3, "batch_size": 8, "importance_samples": 3, "evaluation_batch": 60},
    "vae-mnist": {"data": "digits", "widths": (8, 4), "latent": 3, "batch_size": 8, "importance_samples": 2}
    | {"activation": "relu", "schedule": "constant"},
    "gan-ring": {"generator": (8,), "discriminator": (8,), "pieces": 2, "batch_size": 8, "samples": 20}
    | {
        "packing": 2,
        "spectral": True,
        "penalty": "interpolated",
        "discriminator_steps": 2,
        "input_noise": True,
        "dropout": 0.1,
    },
    "gan-grid": {"generator": (8,), "discriminator": (8,), "batch_size": 8, "samples": 20},
    "gan-mnist": IMAGES | {"latent": 3, "conditional": True, "dropout": 0.1, "shift": 1, "cutout": 3},
    "dcgan-mnist": IMAGES | {"conditional": True, "scales": 2, "hidden": 3},
    "dcgan-cifar10": IMAGES | {"hidden": 3, "discriminator_batch_norm": False, "spectral": True, "images": 50},
    "stacked-mnist": IMAGES | {"hidden": 3, "stack": 2, "stacks": 50, "packing": 2},
    "synthetic-data": IMAGES
    | {
        "net": "dense",
        "hidden": 0,
        "discriminator_batch_norm": False,
        "few": 20,
        "latent": 3,
        "classifier_batch": 8,
        "shift": 1,
        "cutout": 3,
    },
    "translate": TRANSLATION | {"tokens": 400, "accumulation": 2, "beam": 2, "buckets": (24,)},
    "translate-tiny": TRANSLATION | {"tokens": 200, "accumulation": 1},
    "alphazero-tic-tac-toe": {"widths": (8,), "games": 4, "moves": 3, "replay": 48, "updates": 2, "batch_size": 8}
    | {"simulations": 4, "contests": 4, "judged_simulations": 4},
    "alphazero-connect-four": BOARD | {"judged_simulations": 3, "rule": "puct"},
    "alphazero-go-9x9": BOARD | {"board": "go_3x3", "judged_simulations": 0},
    "go-supervised": {"records": GAMES, "board": "go_5x5", "widths": (4,), "batch_size": 4, "evaluation_batch": 64},
    "go-reinforced": {"board": "tic_tac_toe", "widths": (4,), "games": 4, "longest": 6, "pool": 2, "join_every": 3}
    | {"contests": 4},
    "go-search": {
        "board": "tic_tac_toe",
        "policy_widths": (4,),
        "value_net": "dense",
        "value_widths": (4,),
        "simulations": 3,
    }
    | {"contests": 4},
    "go-value": {"records": GAMES, "board": "go_5x5", "net": "dense", "widths": (), "batch_size": 4}
    | {"evaluation_batch": 64},
    "a2c": {"widths": (8,), "environments": 4, "evaluation_episodes": 2},
    "q-learning": {"rollout_length": 10, "environments": 2, "evaluation_episodes": 2},
    "reinforce": {"environment": "Pendulum-v1", "widths": (8,), "environments": 2, "rollout_length": 200}
    | {"evaluation_episodes": 2},
    "dqn": {"widths": (8,), "environments": 2, "rollout_length": 2, "updates": 2, "batch_size": 8, "capacity": 16}
    | {"learning_starts": 12, "target_every": 3, "evaluation_episodes": 2, "n_steps": 2}
    | {"prioritized": True, "dueling": True},
    "ppo": {"environment": "Pendulum-v1", "widths": (8,), "rollout_length": 8, "minibatches": 2}
    | {"evaluation_episodes": 2, "normalize_observations": True, "normalize_rewards": True},
    "ppo-cartpole": {"widths": (8,), "rollout_length": 8, "minibatches": 2, "evaluation_episodes": 2},
    "sac": {"widths": (8,), "environments": 2, "rollout_length": 2, "updates": 2, "batch_size": 8, "capacity": 16}
    | {"learning_starts": 12, "evaluation_episodes": 2},
    "pqn": {"widths": (8,), "environments": 4, "rollout_length": 8, "minibatches": 2, "evaluation_episodes": 2},
    "ppo-recurrent": {"widths": (8,), "environments": 4, "rollout_length": 8, "minibatches": 2, "memory": 4}
    | {"evaluation_episodes": 2, "stop_updates": True},
    "ppo-breakout": {
        "features": "convolution",
        "widths": (8,),
        "environments": 4,
        "rollout_length": 8,
        "evaluation_episodes": 2,
    },
}


def tiny(name: str) -> Recipe:
    """The recipe or probe of that name with a tiny Setup and twenty ticks."""
    if name in PROBES:
        return PROBES[name]
    recipe = find(name)
    setup = replace(recipe.setup, **TINY[name])
    return replace(recipe, setup=setup, budget=replace(SMALL, steps=20 * recipe.steps_per_tick(setup)))


def compiled(experiment: Experiment) -> Experiment:
    """Its array functions as programs: called by hand, each of their operations would be compiled alone."""
    return experiment._replace(**{name: jax.jit(getattr(experiment, name)) for name in ("init", "step", "evaluate")})


NAMES = [*PROBES, *RECIPES]
assert {*TINY} == {*RECIPES}, f"a recipe needs its tiny Setup in TINY: {', '.join(sorted({*TINY} ^ {*RECIPES}))}"
assert all(find(name).name == name for name in RECIPES), "a recipe's key in the catalog is its name"


# Recipes of one `make` differ in settings alone: the first, whose tiny Setup takes the branches, stands for the others in
# `make test` wherever a program is run.
METHODS = list({tiny(name).make: name for name in reversed(NAMES)}.values())
# What asks about compiled programs, of those too that have other networks.
PROGRAMS = [*METHODS, "ppo-recurrent", "ppo-breakout"]


def plan_of(recipe: Recipe, seeds: int = 3, chunk: int | None = None, **hyper: float) -> Plan:
    budget = recipe.budget if chunk is None else replace(recipe.budget, chunk=chunk, record_every=1)
    rows = tuple(Row(seed, recipe.hyper._replace(**hyper)) for seed in range(seeds))
    return Plan(recipe, recipe.setup, rows, budget)
