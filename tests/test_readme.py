"""What the README and the pages show of code is what the tests run."""

import re

import jax
import jax.numpy as jnp
import pytest
from pages import PAGES, ROOT

from research.rl import environments

README = ROOT / "README.md"
OWN_ENVIRONMENT = ROOT / "docs" / "how-to" / "own-environment.md"
# What a page names that a clone does not hold: it is made, or the reader makes it.
MADE = ("research/studies/acrobot_entropy.py", "docs/results/acrobot-entropy/")


def test_the_experiment_in_the_readme_is_the_one_that_is_tested():
    readme = README.read_text()
    assert (ROOT / "tests" / "own" / "linear.py").read_text().strip() in readme
    assert "make demo" in readme and "make test" in readme


def test_the_environment_in_the_pages_is_the_one_that_is_tested():
    assert (ROOT / "tests" / "own" / "lander.py").read_text().strip() in OWN_ENVIRONMENT.read_text()


def test_the_pages_adapt_an_object_of_gymnax_with_its_parameters():
    (example,) = re.findall(r"```python\n(import gymnax\n.*?)```", OWN_ENVIRONMENT.read_text(), re.DOTALL)
    names: dict = {}
    exec(example, names)
    moon, earth = names["moon"], environments.make("CartPole-v1")
    state, _ = earth.reset(jax.random.key(0))
    tilted = state.replace(theta=jnp.float32(0.1), theta_dot=jnp.float32(0))
    # A pole that leans right falls, and on the Moon more slowly; pushed to the left it is hurried on alike.
    speeds = [float(e.step(jax.random.key(0), tilted, jnp.int32(0)).state.theta_dot) for e in (moon, earth)]
    assert 0 < speeds[0] < speeds[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_pages_name_only_files_that_are_there(page):
    named = {
        name.rstrip(".,:;)")
        for name in re.findall(r"(?<![\w/.-])((?:scripts|notebooks|tests|research|docs)/[\w./-]+)", page.read_text())
    }
    assert [name for name in named if not (ROOT / name).exists() and name not in MADE] == []


def test_the_readme_leads_to_what_it_speaks_of():
    readme = README.read_text()
    for name in ("scripts/train.py", "scripts/prepare_data.py", "scripts/bench.py", "scripts/play.py",
                 "notebooks/quickstart.py", "tests/test_contract.py", "LICENSE", "CHANGELOG.md",
                 "docs/results/demo-curve.png", "docs/tutorial.md", "docs/design/index.md"):  # fmt: skip
        assert name in readme and (ROOT / name).exists(), name
    for target in re.findall(r"\]\((?!http)([^)#]+)", readme):
        assert (ROOT / target).exists(), target
