"""What the README shows is what the tests run."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp

from research.rl import environments

ROOT = Path(__file__).resolve().parent.parent


def test_the_experiment_in_the_readme_is_the_one_that_is_tested():
    readme = (ROOT / "README.md").read_text()
    assert (ROOT / "tests" / "own" / "linear.py").read_text().strip() in readme
    assert "make demo" in readme and "make test" in readme


def test_the_environment_in_the_readme_is_the_one_that_is_tested():
    assert (ROOT / "tests" / "own" / "lander.py").read_text().strip() in (ROOT / "README.md").read_text()


def test_the_readme_adapts_an_object_of_gymnax_with_its_parameters():
    (example,) = re.findall(r"```python\n(import gymnax\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict = {}
    exec(example, names)
    moon, earth = names["moon"], environments.make("CartPole-v1")
    state, _ = earth.reset(jax.random.key(0))
    tilted = state.replace(theta=jnp.float32(0.1), theta_dot=jnp.float32(0))
    # A pole that leans right falls, and on the Moon more slowly; pushed to the left it is hurried on alike.
    speeds = [float(e.step(jax.random.key(0), tilted, jnp.int32(0)).state.theta_dot) for e in (moon, earth)]
    assert 0 < speeds[0] < speeds[1]


def test_the_readme_names_only_files_that_are_there():
    readme = (ROOT / "README.md").read_text()
    for name in ("scripts/train.py", "scripts/prepare_data.py", "scripts/bench.py", "scripts/play.py",
                 "scripts/generate.py", "scripts/translate.py", "scripts/explain.py", "scripts/sample.py",
                 "scripts/match.py", "scripts/gtp.py", "scripts/record_games.py",
                 "notebooks/quickstart.py", "notebooks/own_environment.py", "notebooks/gan.py",
                 "tests/test_contract.py", "LICENSE", "CHANGELOG.md", "docs/results/demo-curve.png"):  # fmt: skip
        assert name in readme and (ROOT / name).exists(), name
