"""Every recipe by name. An explicit dictionary, so that grep finds everything; modules are imported when asked for."""

import importlib
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

from research.engine.fields import nearest
from research.engine.plan import Recipe

RECIPES = {
    "classify": "research.recipes.classify:CLASSIFY",
    "classify-cifar10": "research.recipes.classify:CIFAR10",
    "rotation-digits": "research.recipes.rotation:ROTATION_DIGITS",
    "vae": "research.recipes.vae:VAE",
    "vae-mnist": "research.recipes.vae:VAE_MNIST",
    "lm": "research.recipes.lm:LM",
    "nanogpt-char-cpu": "research.recipes.lm:NANOGPT_CPU",
    "nanogpt-char-gpu": "research.recipes.lm:NANOGPT_GPU",
    "translate": "research.recipes.translate:TRANSLATE",
    "translate-tiny": "research.recipes.translate:TINY",
    "finetune": "research.recipes.finetune:FINETUNE",
    "gan-ring": "research.recipes.mixtures:GAN_RING",
    "gan-grid": "research.recipes.mixtures:GAN_GRID",
    "gan-mnist": "research.recipes.gan:GAN_MNIST",
    "dcgan-mnist": "research.recipes.gan:DCGAN_MNIST",
    "dcgan-cifar10": "research.recipes.gan:DCGAN_CIFAR10",
    "stacked-mnist": "research.recipes.gan:STACKED_MNIST",
    "synthetic-data": "research.recipes.gan:SYNTHETIC_DATA",
    "alphazero-tic-tac-toe": "research.recipes.alphazero:ALPHAZERO_TIC_TAC_TOE",
    "alphazero-connect-four": "research.recipes.alphazero:ALPHAZERO_CONNECT_FOUR",
    "alphazero-go-9x9": "research.recipes.alphazero:ALPHAZERO_GO_9X9",
    "go-supervised": "research.recipes.alphago:GO_SUPERVISED",
    "go-reinforced": "research.recipes.alphago:GO_REINFORCED",
    "go-search": "research.recipes.alphago:GO_SEARCH",
    "go-value": "research.recipes.alphago:GO_VALUE",
    "a2c": "research.recipes.policy_gradient:A2C",
    "dqn": "research.recipes.dqn:DQN",
    "ppo": "research.recipes.ppo:PPO",
    "ppo-cartpole": "research.recipes.ppo:CARTPOLE",
    "ppo-breakout": "research.recipes.ppo:BREAKOUT",
    "ppo-recurrent": "research.recipes.ppo:RECURRENT",
    "pqn": "research.recipes.pqn:PQN",
    "q-learning": "research.recipes.q_learning:Q_LEARNING",
    "sac": "research.recipes.sac:SAC",
    "reinforce": "research.recipes.policy_gradient:REINFORCE",
}


def find(name: str) -> Recipe:
    """The recipe of that name in the catalog, or the object `recipe` of a user's own file 'PATH.py'."""
    if name.endswith(".py"):
        return from_file(Path(name))
    if name not in RECIPES:
        hint = nearest(name, RECIPES)
        raise ValueError(
            f"recipe={name!r} is not in the catalog; {hint} (your own file is named by a path ending in .py)"
        )
    module, attribute = RECIPES[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def from_file(path: Path) -> Recipe:
    """Runs a user's file as a module and takes its `recipe`. What that file raises is the user's to see."""
    if not path.is_file():
        raise ValueError(
            f"recipe file {str(path)!r} does not exist; give the path of a Python file that defines `recipe`"
        )
    name = f"own_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up by name
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        if error.filename:
            raise
        raise ValueError(f"{path} is not Python source ({error}); give a file of text that defines `recipe`") from None
    recipe = getattr(module, "recipe", None)
    if not isinstance(recipe, Recipe):
        raise ValueError(f"{path} defines no `recipe`; end it with `recipe = Recipe(name=..., make=make, ...)`")
    return replace(recipe, file=path)
