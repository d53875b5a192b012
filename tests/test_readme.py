"""What the README shows is what the tests run."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_experiment_in_the_readme_is_the_one_that_is_tested():
    readme = (ROOT / "README.md").read_text()
    assert (ROOT / "tests" / "own" / "linear.py").read_text().strip() in readme
    assert "make demo" in readme and "make test" in readme


def test_the_readme_names_only_files_that_are_there():
    readme = (ROOT / "README.md").read_text()
    for name in ("scripts/train.py", "scripts/prepare_data.py", "scripts/bench.py", "notebooks/quickstart.py",
                 "tests/test_contract.py", "LICENSE", "CHANGELOG.md", "docs/results/demo-curve.png"):  # fmt: skip
        assert name in readme and (ROOT / name).exists(), name
