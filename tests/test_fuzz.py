"""Random command lines and damaged run folders: bad input gets one clear box and exit code 2 (1 for what the machine did),
never a traceback, never a hang, and nothing is lost.

The share that `make test` runs is the same in every run; `make test-slow` runs all.
`pytest -m slow tests/test_fuzz.py --hypothesis-profile random --hypothesis-seed 1` runs as many others.
"""

import pytest
from fuzz import OWN_BUGS, Home, Line, nothing_runs, script

LINES, ALL_LINES = 400, 2000
FOLDERS, ALL_FOLDERS = 100, 500

pytestmark = pytest.mark.xdist_group("fuzz")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The working directory of all command lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESEARCH_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        folder = tmp_path_factory.mktemp("home")
        patch.chdir(folder)
        patch.setenv("HOME", str(folder / "empty"))
        patch.setenv("COLUMNS", "200")
        made = Home(folder)
        with nothing_runs():
            yield made


def check(line: Line, home: Home) -> None:
    said = script(*line)
    lost = home.lost()
    assert not lost, f"{line} lost {lost}"
    if said.error is not None:
        import traceback

        told = "".join(traceback.format_exception(said.error))
        assert any(name in told.splitlines()[-4] or name in told for name in OWN_BUGS if name in line.words), (
            f"{line}\n{told}"
        )
        return
    assert said.code in (None, 0, 1, 2), f"{line} ended with {said.code}"
    assert "Traceback" not in said.err, f"{line}\n{said.err}"
    if said.code:
        assert len(said.message.split()) >= 4, f"{line} says {said.message!r}"
        if said.code == 2 and said.err:
            assert "╭" in said.err, f"{line}\n{said.err}"
