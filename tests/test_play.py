"""What a run has learned, shown: the episode that is drawn is the one that was scored, and a picture shows its state."""

import json
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import run_folders
from own.lander import LANDER, Lander
from PIL import Image
from shell import script

from research.catalog import find
from research.engine import saved
from research.engine.checkpoint import Checkpoints
from research.engine.chunk import alive
from research.engine.files import read_lines, read_manifest
from research.engine.keys import at_tick, stream
from research.engine.plan import Plan, Row
from research.rl import environments, pictures, rollout
from research.rl.adapters import gymnax_pictures
from research.rl.environments import Episodes
from research.rl.rollout import Actor

pytestmark = pytest.mark.xdist_group("play")  # one process trains the run that all play
ROOT = Path(__file__).resolve().parent.parent
# What is kept is the state of the smallest return: of a policy that learns, not the last.
BEST = "\nimport dataclasses\n\nrecipe = dataclasses.replace(recipe, best='-episode_return')\n"
# A pilot that burns or not by chance: some of its episodes crash, some are lost, some run out of time.
DICE = Actor(
    lambda key, shape: jax.random.bernoulli(key, 0.5, shape).astype(jnp.int32),
    lambda memory, episodes, drawn: (memory, drawn, ()),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run of the lander that the pages show from a file outside the package: two seeds, evaluated twice."""
    home = tmp_path_factory.mktemp("lander")
    (home / "lander.py").write_text((ROOT / "tests" / "own" / "lander.py").read_text() + BEST)
    tiny = ["--setup.widths", 16, "--setup.evaluation-episodes", 8, "--hyper.learning-rate", 3e-3, "--seeds", 2]
    length = ["--steps", 40 * 500, "--chunk", 10, "--evaluate-every", 10]
    code, _, said = script("train.py", home / "lander.py", *tiny, *length, "--device-count", 1, "--out", home / "runs")
    assert code == 0, said
    (made,) = (home / "runs").iterdir()
    return made


def told(printed: str) -> dict[str, float]:
    """The numbers that play.py prints by the word before them."""
    words = re.findall(r"(seed|tick|episode|return|length|mean return) (-?[\d.e-]*\d)", printed)
    return {word: float(number) for word, number in reversed(words)}


def own_plan(folder: Path) -> Plan:
    """The plan of a run whose recipe stands in a file."""
    manifest = read_manifest(folder)
    return saved.plan_of(find(manifest["file"]), manifest)


def by_hand(folder: Path, row: int, chosen: int) -> tuple[float, int, bool]:
    """Steps one environment of the last evaluation in a plain loop -> return, length, terminated."""
    plan = own_plan(folder)
    state, tick, _ = saved.state_of(plan, folder, row)
    play = plan.recipe.make(plan.setup).evaluate
    actor, environment = play.actor(state), play.environment
    start_key, rollout_key = jax.random.split(at_tick(stream(jnp.uint32(plan.rows[row].seed), "evaluate"), tick))
    keys = jax.random.split(jax.random.split(rollout_key)[1], (environment.time_limit, play.count))
    flight, observation = environment.reset(jax.random.split(start_key, (play.count,))[chosen])
    total = 0.0
    for time in range(environment.time_limit):
        episodes = Episodes(flight, observation[None], jnp.zeros(1), jnp.full(1, time))
        _, (action,), _ = actor.act((), episodes, jnp.zeros((2, 1)))  # by the mode: no noise is looked at
        flight, observation, reward, terminated, truncated = environment.step(keys[time, chosen], flight, action)
        total += float(reward)
        if terminated or truncated:
            return total, time + 1, bool(terminated)
    raise AssertionError("an episode goes on beyond its time limit")


def test_what_is_played_is_what_was_scored(folder):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, printed, said = script("play.py", folder, "--seed", 1, "--episode", 2)
    assert code == 0, said
    numbers = told(printed)
    total, length, terminated = by_hand(folder, row=1, chosen=2)
    assert numbers["return"] == pytest.approx(total, abs=1e-5) and numbers["length"] == length
    assert ("terminated" if terminated else "truncated") in printed
    last = [line for line in read_lines(folder / "evaluations.jsonl") if line["row"] == 1][-1]
    assert numbers["mean return"] == pytest.approx(last["episode_return"], abs=1e-4) and numbers["tick"] == last["tick"]
    with Image.open(folder / "play.gif") as animation:
        assert animation.n_frames == length + 1  # a picture before each step and one after the last
    assert before == {path: path.read_bytes() for path in before}
    assert {path.name for path in folder.rglob("*") if path.is_file() and path not in before} == {"play.gif"}


def test_the_best_state_is_played_on_request(folder, tmp_path):
    scores = [line for line in read_lines(folder / "evaluations.jsonl") if line["row"] == 0]
    best = min(scores, key=lambda line: line["episode_return"])
    code, printed, _ = script("play.py", folder, "--best", "--out", tmp_path / "new" / "best.gif")
    numbers = told(printed)
    assert best["tick"] < scores[-1]["tick"]
    assert code == 0 and (tmp_path / "new" / "best.gif").is_file()
    assert numbers["tick"] == best["tick"] and numbers["mean return"] == pytest.approx(best["episode_return"], abs=1e-4)


def test_a_moved_recipe_is_named_and_can_be_given(folder, tmp_path):
    moved = tmp_path / "run"
    moved.mkdir()
    manifest = json.loads((folder / "manifest.json").read_text()) | {"file": "/nowhere/lander.py"}
    (moved / "manifest.json").write_text(json.dumps(manifest))
    code, _, said = script("play.py", moved)
    assert code == 2 and "'/nowhere/lander.py' is no longer there; say where it is: --recipe PATH.py" in said
    code, _, said = script("play.py", moved, "--recipe", ROOT / "tests" / "own" / "linear.py")
    assert code == 2 and "'linear' as it is now does not fit it" in said
    code, _, said = script("play.py", moved, "--recipe", ROOT / "tests" / "own" / "lander.py")
    assert code == 2 and "holds no checkpoint; one is saved" in said
    (moved / "checkpoints").mkdir()  # where a run has begun, and has saved nothing yet
    code, _, said = script("play.py", moved, "--recipe", ROOT / "tests" / "own" / "lander.py")
    assert code == 2 and "holds no checkpoint; one is saved" in said
    assert {path.name for path in moved.rglob("*")} == {"manifest.json", "checkpoints"}


def test_what_other_code_learned_is_played_and_told_of(folder, tmp_path):
    older = Path(shutil.copytree(folder, tmp_path / "older"))
    manifest = json.loads((older / "manifest.json").read_text())
    (older / "manifest.json").write_text(json.dumps(manifest | {"source": "of last week"}))
    told = "the code has changed since this run began"
    for where, expected in ((folder, False), (older, True)):
        code, printed, said = script("play.py", where, "--out", tmp_path / "play.gif")
        assert code == 0 and (told in f"{printed} {said}") is expected


def test_a_row_that_diverged_is_refused(folder, monkeypatch):
    """By name of the row where it is played, and of the field where another recipe begins with it."""
    whole = saved.state_of

    def dead(*what, **how):
        found = whole(*what, **how)
        return found._replace(state=(found.state, np.float32(np.nan)))

    plan = own_plan(folder)
    assert alive(saved.living_state(plan, folder, "policy").state)
    monkeypatch.setattr(saved, "state_of", dead)
    code, _, said = script("play.py", folder, "--seed", 1)
    assert code == 2 and re.search(r"the state of seed 1 holds a NaN at tick \d+: that row diverged", said)
    with pytest.raises(ValueError, match="policy='.*' holds a NaN: that run diverged; use another one"):
        saved.living_state(plan, folder, "policy")


def test_a_run_to_begin_with_that_has_saved_nothing_is_named_with_its_field(folder, tmp_path):
    with pytest.raises(ValueError, match="policy='.*', whose data must still be there: .* holds no checkpoint"):
        saved.living_state(own_plan(folder), tmp_path, "policy")


def test_what_another_run_begins_with_is_the_first_rows_last_state_or_its_best(folder, monkeypatch):
    """Read where there is one device, and nothing is kept open."""
    one, closed, whole = jax.devices()[:1], [], Checkpoints.close
    monkeypatch.setattr(jax, "local_devices", lambda: one)
    monkeypatch.setattr(Checkpoints, "close", lambda self: closed.append(self) or whole(self))
    plan, lines = own_plan(folder), [line for line in read_lines(folder / "evaluations.jsonl") if line["row"] == 0]
    best = min(lines, key=lambda line: line["episode_return"])["tick"]
    last, kept = saved.living_state(plan, folder, "policy"), saved.living_state(plan, folder, "policy", best=True)
    assert (last.tick, kept.tick) == (lines[-1]["tick"], best)
    first, other = (saved.state_of(plan, folder, row).state for row in (0, 1))
    same = lambda a, b: all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))
    assert same(last.state, first) and not same(last.state, other) and not same(last.state, kept.state)
    assert len(closed) == 4


def test_a_best_state_that_there_is_not_yet_or_never_is_refused(folder, tmp_path):
    """Of a run that was saved before its first evaluation, and of a recipe that keeps none."""
    early, plan = Path(shutil.copytree(folder, tmp_path / "early")), own_plan(folder)
    tick, tree, _ = saved.last_tree(plan, early)
    tree["best"]["tick"][:] = 0
    checkpoints = Checkpoints(early / "checkpoints")
    checkpoints.save(tick + 10, tree)
    checkpoints.close()
    assert saved.state_of(plan, early, 0).tick == tick + 10
    with pytest.raises(ValueError, match="has not been evaluated yet, so that none of its states is the best"):
        saved.state_of(plan, early, 0, best=True)
    with pytest.raises(ValueError, match="recipe 'lander' keeps no best state, only the last; leave --best out"):
        saved.state_of(replace(plan, recipe=replace(plan.recipe, best=None)), folder, 0, best=True)


def test_a_run_to_begin_with_is_of_one_of_the_recipes_that_fit(folder):
    plan = own_plan(folder)
    assert saved.plan_in(folder, [find("classify"), plan.recipe], "policy") == plan
    with pytest.raises(ValueError, match="policy='.*' is a run of 'lander', not of classify, ppo; give one of these"):
        saved.plan_in(folder, [find("classify"), find("ppo")], "policy")


BAD_INPUT = {
    "unknown seed": (["--seed", 7], "seed=7 is not one of this run's; use one of 0, 1"),
    "unknown row": (["--row", 2], "row=2 (seed=None) is not one of the run's 2 rows"),
    "row of another seed": (["--row", 0, "--seed", 1], "row=0 (seed=1) is not one of the run's 2 rows"),
    "unknown episode": (["--episode", 8], "episode=8 must be below 8"),
    "too fast": (["--frames-per-second", 60], "frames_per_second=60.0 must be at least 1 and at most 50; usual: 25"),
    "no animation": (["--out", "play.mp4"], "out='play.mp4' must end in .gif; try 'play.gif'"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_exits_with_2_and_says_value_rule_and_repair(case, folder):
    arguments, message = BAD_INPUT[case]
    code, _, said = script("play.py", folder, *arguments)
    assert code == 2 and message in said, said


def test_folders_that_cannot_be_played_are_refused(tmp_path):
    code, _, said = script("play.py", tmp_path / "none")
    assert code == 2 and "does not exist; give a folder such as runs/NAME" in said
    code, _, said = script("play.py", tmp_path)
    assert code == 2 and "holds no manifest.json, so it is not a run folder" in said
    own = {"recipe": "linear", "setup": {"batch_size": 8}, "file": str(ROOT / "tests" / "own" / "linear.py")}
    budget = {"steps": 200, "chunk": 100, "record_every": 10, "evaluate_every": 100}
    linear = run_folders.write(tmp_path / "linear", [(0, {"learning_rate": 0.1})], **own, budget=budget)
    code, _, said = script("play.py", linear)
    assert code == 2 and "recipe 'linear' acts in no environment" in said


def test_a_plan_comes_back_from_its_manifest():
    for name in ("ppo-breakout", "q-learning", "classify"):
        recipe = find(name)
        plan = Plan(recipe, recipe.setup, (Row(3, recipe.hyper), Row(4, recipe.hyper)), recipe.budget)
        assert saved.plan_of(recipe, json.loads(json.dumps(plan.manifest()))) == plan


def test_a_manifest_that_does_not_fit_its_recipe_is_refused_with_what_differs():
    recipe = find("classify")
    manifest = Plan(recipe, recipe.setup, (Row(0, recipe.hyper),), recipe.budget).manifest()
    for other, told in (
        (
            {"recipe": "classified"},
            "run of recipe 'classified', and 'classify' as it is now .*: its name is another; use",
        ),
        (
            {"setup": manifest["setup"] | {"lost": 1}},
            "does not fit it: only one of the two has lost; use the code that",
        ),
    ):
        with pytest.raises(ValueError, match=told):
            saved.plan_of(recipe, manifest | other)


@dataclass(frozen=True)
class OfFile:
    text: Path | None


@pytest.mark.parametrize("setup", [OfFile(Path("usual.txt")), OfFile(None)])
@pytest.mark.parametrize("text", [Path("a", "b.txt"), None])
def test_a_path_comes_back_from_a_manifest_which_holds_it_as_text(text, setup):
    usual = find("classify")
    recipe = replace(usual, setup=setup, make=lambda setup: usual.make(usual.setup))
    plan = Plan(recipe, OfFile(text), (Row(0, recipe.hyper),), recipe.budget)
    written = json.loads(json.dumps(plan.manifest()))
    assert written["setup"] == {"text": "a/b.txt" if text else None}
    assert saved.plan_of(recipe, written).setup == OfFile(text)


def test_a_seed_of_several_rows_is_refused_without_the_row():
    recipe = find("classify")
    rows = (Row(0, recipe.hyper), Row(1, recipe.hyper), Row(0, recipe.hyper._replace(learning_rate=0.5)))
    plan = Plan(recipe, recipe.setup, rows, recipe.budget)
    assert [saved.row_of(plan, None, None), saved.row_of(plan, 1, None), saved.row_of(plan, 0, 2)] == [0, 1, 2]
    assert saved.row_of(plan, None, 0) == 0
    with pytest.raises(ValueError, match="row=-1 .* is not one of the run's 3 rows; their seeds: .0, 1, 0."):
        saved.row_of(plan, None, -1)
    with pytest.raises(ValueError, match=r"seed=0 stands in several rows.*--row .*2: learning_rate=0.5"):
        saved.row_of(plan, 0, None)


def test_a_state_with_a_nan_is_not_alive():
    assert alive((np.int32(1), np.zeros(2, np.float32)))
    assert not alive((np.int32(1), np.array([0, np.nan], np.float32)))


def test_a_watched_episode_is_the_one_that_is_played_state_by_state():
    count, key = 64, jax.random.key(3)
    evaluation = jax.jit(lambda: rollout.play(LANDER, DICE, key, count))()
    watch = jax.jit(lambda chosen: rollout.watch(LANDER, DICE, key, count, chosen))
    shortest = int(evaluation.lengths.argmin())
    late = int(evaluation.lengths.argmax())
    for chosen, ending in ((shortest, (True, False)), (late, (False, True))):
        episode = jax.device_get(watch(jnp.int32(chosen)))
        np.testing.assert_array_equal(episode.evaluation.returns, evaluation.returns)
        np.testing.assert_array_equal(episode.evaluation.lengths, evaluation.lengths)
        assert (episode.terminated, episode.truncated) == ending
        length = int(evaluation.lengths[chosen])
        assert episode.totals[0] == 0 and episode.totals[length] == evaluation.returns[chosen]
        states = episode.states
        assert states.time[: length + 1].tolist() == list(range(length + 1))
        # A step changes the speed by one, and the height by the speed down to the ground.
        np.testing.assert_array_equal(np.abs(np.diff(states.speed[: length + 1])), 1)
        fallen = np.maximum(states.height[:length] - states.speed[1 : length + 1], 0)
        np.testing.assert_array_equal(states.height[1 : length + 1], fallen)
        np.testing.assert_allclose(episode.observations[:, 0], states.height / 10, rtol=1e-6)
    assert late != shortest and evaluation.lengths[late] == LANDER.time_limit


def place(frame: np.ndarray, colour: tuple[int, int, int]) -> tuple[float, float]:
    """Mean (row, column) of the pixels of a colour."""
    rows, columns = np.nonzero((frame == np.array(colour, np.uint8)).all(-1))
    assert len(rows), f"no pixel of colour {colour}"
    return float(rows.mean()), float(columns.mean())


CART = SimpleNamespace(x_threshold=2.4, length=0.5)


def test_the_cart_moves_right_with_x_and_the_pole_leans_right_with_theta():
    def shown(x, theta):
        frame = gymnax_pictures.cart_pole(None, CART, SimpleNamespace(x=x, theta=theta))
        return place(frame, pictures.INK), place(frame, pictures.ORANGE)

    columns = [shown(x, 0.0)[0][1] for x in (-2.0, 0.0, 2.0)]
    # 400 pixels show 1.3 times the 4.8 units between the bounds: 2 units are 128 pixels.
    np.testing.assert_allclose(np.diff(columns), 128, atol=1.5)
    for theta in (-0.2, 0.2):
        cart, pole = shown(0.0, theta)
        assert pole[0] < cart[0]  # above it
        assert (pole[1] - cart[1]) * theta > 0 and abs(pole[1] - cart[1]) > 3


def test_acrobot_hangs_where_its_angles_are_0_and_the_second_counts_from_the_first():
    params = SimpleNamespace(link_length_1=1.0, link_length_2=1.0)

    def shown(first, second):
        frame = gymnax_pictures.acrobot(None, params, SimpleNamespace(joint_angle1=first, joint_angle2=second))
        return place(frame, pictures.BLUE), place(frame, pictures.ORANGE)

    middle = (pictures.HEIGHT / 2, pictures.WIDTH / 2)
    inner, outer = shown(0.0, 0.0)
    assert middle[0] < inner[0] < outer[0] and abs(outer[1] - middle[1]) < 1.5
    inner, outer = shown(np.pi / 2, 0.0)  # both to the right
    assert middle[1] < inner[1] < outer[1] and abs(outer[0] - middle[0]) < 1.5
    inner, outer = shown(np.pi / 2, np.pi / 2)  # to the right, then up
    assert outer[1] > inner[1] and outer[0] < inner[0] - 20


def test_the_pendulum_stands_where_theta_is_0_and_grows_to_the_left():
    params = SimpleNamespace(max_torque=2.0)

    def shown(theta):
        return place(gymnax_pictures.pendulum(None, params, SimpleNamespace(theta=theta, last_u=1.0)), pictures.RED)

    assert shown(0.0)[0] < shown(np.pi / 2)[0] < shown(np.pi)[0]
    assert shown(np.pi / 2)[1] < shown(0.0)[1] < shown(-np.pi / 2)[1]


def test_the_car_is_lowest_in_the_valley():
    params = SimpleNamespace(min_position=-1.2, max_position=0.6, goal_position=0.5)
    # sin(3 x) is -1 at x = -pi / 6 and as high on both sides of it.
    at = [-np.pi / 6 - 0.4, -np.pi / 6, -np.pi / 6 + 0.4]
    (left, valley, right) = (
        place(gymnax_pictures.mountain_car(None, params, SimpleNamespace(position=x)), pictures.BLUE) for x in at
    )
    assert left[1] < valley[1] < right[1]
    assert valley[0] > left[0] + 20 and abs(left[0] - right[0]) < 2


def middle_of(frame: np.ndarray, row: int, column: int, rows: int, columns: int) -> list[int]:
    """The colour in the middle of a cell."""
    size = min(0.96 * pictures.WIDTH / columns, 0.96 * pictures.HEIGHT / rows)
    y = pictures.HEIGHT / 2 + (row + 0.5 - rows / 2) * size
    x = pictures.WIDTH / 2 + (column + 0.5 - columns / 2) * size
    return frame[int(y), int(x)].tolist()


def test_cells_have_their_channels_colours_and_the_last_one_covers_the_others():
    grid = np.zeros((3, 4, 2), np.float32)
    grid[0, 1, 0] = grid[2, 3, 1] = grid[1, 0, 0] = grid[1, 0, 1] = 1
    frame = pictures.observed(grid, grid.max((0, 1)))
    first, second = (list(colour) for colour in pictures.CHANNELS[:2])
    assert [middle_of(frame, *at, 3, 4) for at in ((0, 1), (2, 3), (1, 0))] == [first, second, second]
    assert middle_of(frame, 0, 0, 3, 4) == list(pictures.NIGHT)
    signed = pictures.observed(np.array([[1.0, -1.0]], np.float32), np.ones((1, 2)))
    assert [middle_of(signed, 0, i, 1, 2) for i in range(2)] == [first, second]
    named = pictures.observed(np.eye(5, dtype=np.float32)[3], np.ones(5), one_hot=True)
    assert [i for i in range(5) if middle_of(named, 0, i, 1, 5) == first] == [3]


def test_bars_go_up_or_down_and_as_far_as_their_magnitude():
    frame = pictures.observed(np.array([2.0, -1.0], np.float32), np.array([2.0, 2.0], np.float32))
    up, down = ((frame == np.array(colour, np.uint8)).all(-1) for colour in (pictures.BLUE, pictures.RED))
    assert place(frame, pictures.BLUE)[1] < place(frame, pictures.RED)[1]
    assert np.nonzero(up)[0].max() <= pictures.HEIGHT / 2 <= np.nonzero(down)[0].min() + 3
    assert up.sum() / down.sum() == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("name", ["FourRooms-misc", "FrozenLake-misc", "Pendulum-v1", "MountainCarContinuous-v0"])
def test_gymnax_environments_bring_their_drawing(name):
    environment = environments.make(name)
    state, observation = jax.device_get(environment.reset(jax.random.key(0)))
    (frame,) = pictures.frames(environment.draw, environment.one_hot, [state], observation[None])
    assert frame.shape == (pictures.HEIGHT, pictures.WIDTH, 3) and frame.dtype == np.uint8
    if (
        name == "FourRooms-misc"
    ):  # 13 x 13 places; the goal stands in row 8 and column 9, whoever looks in row 4, column 1
        assert middle_of(frame, 8, 9, 13, 13) == list(pictures.GREEN)
        assert middle_of(frame, 4, 1, 13, 13) == list(pictures.ORANGE)
    if name == "FrozenLake-misc":
        assert middle_of(frame, 0, 0, 4, 4) == list(pictures.ORANGE)
        assert middle_of(frame, 3, 3, 4, 4) == list(pictures.GREEN)


def test_a_drawing_that_gives_no_picture_is_refused():
    state = Lander(np.int32(10), np.int32(0), np.int32(0))
    with pytest.raises(ValueError, match=r"draw gives float32\[2\]; it must give a picture, uint8\[height, width, 3\]"):
        next(pictures.frames(lambda state: np.zeros(2, np.float32), False, [state], np.zeros((1, 2))))
