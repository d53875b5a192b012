"""What the report says of a run folder, on folders whose right answers are worked out by hand."""

import io
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import run_folders
from matplotlib.figure import Figure
from PIL import Image
from recipes import plan_of, tiny
from rich.console import Console

from research.engine.errors import Damaged
from research.engine.run import run
from research.report import figures, paper
from research.report.collect import Entry, Group
from research.report.curves import arrange, caption, draw, draw_curve, limit
from research.report.numerals import alike
from research.report.run_folder import read
from research.report.series import EVALUATION, METRIC, Series, fold, read_series
from research.report.summary import summarize
from research.report.tables import table

SEEDS = [(seed, {"learning_rate": 0.1}) for seed in (3, 4, 5)]
SWEEP = [(seed, {"learning_rate": rate, "decay": 0.5}) for rate in (0.1, 0.2) for seed in (0, 1)]


def classified(folder, **manifest):
    """Three seeds, 100 ticks of 10 steps in 2 s; test accuracies 0.7, 0.8, 0.9."""
    metrics = [
        {"tick": tick, "row": row, "finite": True, "loss": 1 / tick, "accuracy": 0.5 + tick / 400}
        for tick in (25, 50, 75, 100)
        for row in range(3)
    ]
    evaluations = [
        {"tick": tick, "row": row, "validation_accuracy": 0.5 + tick / 500 + row / 10}
        for tick in (50, 100)
        for row in range(3)
    ]
    evaluations += [{"tick": 100, "row": row, "final": True, "test_accuracy": 0.7 + row / 10} for row in range(3)]
    timings = [{"tick": tick, "seconds": 0.5} for tick in (25, 50, 75, 100)]
    return run_folders.write(folder, SEEDS, metrics, evaluations, timings, **manifest)


def shown(renderable, width=100):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def test_summary_pools_the_last_figures_over_seeds(tmp_path):
    summary = summarize(classified(tmp_path))
    assert summary["test_accuracy"] == pytest.approx(0.8)
    assert summary["validation_accuracy"] == pytest.approx(0.8)  # 0.7, 0.8, 0.9 at tick 100, not those of tick 50
    # Sample standard deviation 0.1, t(2) = 4.30265: half the interval is 0.248414.
    assert summary["interval"]["test_accuracy"] == pytest.approx([0.8 - 0.248414, 0.8 + 0.248414], abs=1e-6)
    assert (summary["min"]["test_accuracy"], summary["max"]["test_accuracy"]) == (0.7, pytest.approx(0.9))
    assert (summary["n"], summary["seeds"], summary["finite_rows"]) == (3, [3, 4, 5], 3)
    assert summary["complete"] is True and summary["pooled_over"] == "seeds"
    assert "accuracy" not in summary, "a training metric is no result"


def test_summary_says_what_the_run_cost(tmp_path):
    summary = summarize(classified(tmp_path))
    assert (summary["tick"], summary["steps_per_seed"], summary["unit"]) == (100, 1000, "updates")
    # 3 rows of 1000 steps in 4 chunks of half a second.
    assert (summary["seconds"], summary["steps_per_second"]) == (2.0, 1500.0)
    assert summary["machine"] == {"device_kind": "cpu", "device_count": 1}


def test_summary_stands_in_the_folder_whole(tmp_path):
    summary = summarize(classified(tmp_path))
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert not list(tmp_path.glob("*.part"))
    assert summary["rows"][1] == {
        "seed": 4,
        "hyper": {"learning_rate": 0.1},
        "finite": True,
        "figures": {"validation_accuracy": pytest.approx(0.8), "test_accuracy": pytest.approx(0.8)},
    }


def test_one_seed_has_no_interval(tmp_path):
    lines = [{"tick": 1000, "row": 0, "episode_return": 9.5}]
    summary = summarize(run_folders.write(tmp_path, SEEDS[:1], evaluations=lines))
    assert summary["episode_return"] == 9.5 and summary["interval"] == {"episode_return": None}
    assert "one seed: no interval" in shown(table(summary))


def test_a_sweep_is_pooled_within_cells_and_not_over_them(tmp_path):
    lines = [{"tick": 1000, "row": row, "error": error} for row, error in enumerate([1.0, 3.0, 10.0, 30.0])]
    summary = summarize(run_folders.write(tmp_path, SWEEP, evaluations=lines))
    assert summary["pooled_over"] == "seeds within cells"
    assert "error" not in summary and "interval" not in summary
    assert [(cell["hyper"]["learning_rate"], cell["error"], cell["n"]) for cell in summary["cells"]] == [
        (0.1, 2.0, 2),
        (0.2, 20.0, 2),
    ]
    text = shown(table(summary))
    assert "learning_rate=0.1" in text and "learning_rate=0.2" in text and "decay" not in text


@pytest.mark.parametrize(("best", "expected"), [("loss", (5.0, 3.0, 6.0)), ("-loss", (2.0, 1.0, 2.0))])
def test_the_best_evaluation_of_each_row_stands_beside_the_last(tmp_path, best, expected):
    values = [[5.0, 2.0], [1.0, 3.0], [6.0, 2.0]]
    lines = [{"tick": 10 + 10 * t, "row": row, "loss": values[row][t]} for t in range(2) for row in range(3)]
    summary = summarize(run_folders.write(tmp_path, SEEDS, evaluations=lines, best=best))
    assert tuple(row["figures"]["best_loss"] for row in summary["rows"]) == expected
    assert summary["best_loss"] == pytest.approx(sum(expected) / 3) and summary["loss"] == pytest.approx(7 / 3)


def test_a_diverged_row_leaves_no_mean_to_flatter(tmp_path):
    metrics = [{"tick": 10, "row": row, "finite": row != 1, "loss": None if row == 1 else 0.1} for row in range(3)]
    lines = [{"tick": 10, "row": row, "accuracy": None if row == 1 else 0.9} for row in range(3)]
    summary = summarize(run_folders.write(tmp_path, SEEDS, metrics, lines))
    assert summary["accuracy"] is None and summary["interval"]["accuracy"] is None
    assert (summary["count"]["accuracy"], summary["max"]["accuracy"], summary["finite_rows"]) == (2, 0.9, 2)
    assert [row["finite"] for row in summary["rows"]] == [True, False, True]
    assert "not finite: 1 of 3 rows (seed 4)" in shown(table(summary))


def test_an_incomplete_run_is_summarised_as_one(tmp_path):
    summary = summarize(classified(tmp_path, complete=False))
    assert summary["complete"] is False and summary["steps_per_seed"] == 1000
    assert "incomplete: stopped at tick 100" in shown(table(summary))


def test_a_run_without_any_line_has_a_summary_and_no_curve(tmp_path):
    run_folders.write(tmp_path, SEEDS, complete=False)
    summary = summarize(tmp_path)
    assert (summary["tick"], summary["interval"], summary["complete"]) == (0, {}, False)
    with pytest.raises(ValueError, match="no recorded figure to draw yet"):
        draw(tmp_path)


def test_a_figure_named_like_a_field_is_told_apart(tmp_path):
    lines = [{"tick": 1000, "row": row, "seconds": 7.0} for row in range(3)]
    summary = summarize(run_folders.write(tmp_path, SEEDS, evaluations=lines, timings=[{"tick": 1000, "seconds": 2.0}]))
    assert (summary["seconds"], summary[".seconds"]) == (2.0, 7.0)


def test_watched_figures_come_first(tmp_path):
    summary = summarize(classified(tmp_path, watch=["loss", "test_accuracy"]))
    assert list(summary["interval"]) == ["test_accuracy", "validation_accuracy"]


def test_a_torn_last_line_is_no_line_and_a_broken_one_is_named(tmp_path):
    classified(tmp_path)
    path = tmp_path / "evaluations.jsonl"
    whole = path.read_text()
    path.write_text(whole + '{"tick": 100, "row": 0, "test_acc')
    assert len(read(tmp_path).evaluations) == 9
    path.write_text('{"tick": 50, "row"\n' + whole)
    with pytest.raises(Damaged, match=r"evaluations.jsonl line 1 is not a record .* restore that line"):
        summarize(tmp_path)
    path.write_text('{"row": 0}\n')
    with pytest.raises(Damaged, match="line 1 is not a record"):
        summarize(tmp_path)


def test_what_is_no_run_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no manifest.json, so it is not a run folder"):
        summarize(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(Damaged, match="is not a run's manifest"):
        summarize(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"rows": [{"seed": 0}]}, {"rows": [{"seed": "0", "hyper": {}}]}, {"setup": []}, {"watch": 3}, {"best": []}]
    + [{"rows": [{"seed": 0, "hyper": {"rate": "fast"}}]}, {"budget": {"steps": None}}, {"machine": {"versions": 3}}]
    + [{"unit": None}, {"complete": "yes"}, {"steps_per_tick": 0}, {"steps_per_tick": 1.0}, {"budget": {"chunk": 1}}]
    + [{"rows": []}, {"rows": {}}, {"rows": [3]}, {"rows": [{"seed": 0, "hyper": 3}]}, {"watch": ["loss", 3]}]
    + [{"rows": [{"seed": 0, "hyper": {"a": 1}}, row]} for row in (3, {"seed": 1}, {"seed": 1, "hyper": {"b": 1}})]
    + [{"rows": [{"seed": 0, "hyper": {"a": 1, "b": "x"}}]}, {"rows": [{"seed": 0, "hyper": {}}, {"hyper": {}}]}]
    + [{"machine": []}, {"budget": {"steps": 1, "chunk": 0}}, {"recipe": None}, {"earlier_machines": {}}],
)
def test_a_manifest_with_another_kind_of_value_is_refused_and_the_field_named(change, tmp_path):
    classified(tmp_path)
    path, (name,) = tmp_path / "manifest.json", change
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(Damaged, match=rf"is not a run's manifest \(see '{name}' in it\)"):
        read(tmp_path)


def test_a_manifest_of_the_smallest_run_is_read(tmp_path):
    least = {"budget": {"steps": 1, "chunk": 1}, "steps_per_tick": 1, "best": None, "file": None, "setup": {}}
    run_folders.write(tmp_path, [(0, {})], complete=False, **least)
    assert read(tmp_path).manifest.items() >= least.items()


@pytest.mark.parametrize(
    "line", ['"loss": "low"', '"loss": NaN', '"loss": 1e999', '"loss": [1]', '"row": 9', '"finite": null']
)
def test_a_line_with_another_kind_of_value_is_refused(line, tmp_path):
    classified(tmp_path)
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"tick": 1, "row": 0, "finite": true, {line}}}\n')
    with pytest.raises(Damaged, match="metrics.jsonl"):
        summarize(tmp_path)


def test_table_shows_the_folder_s_numbers(tmp_path):
    text = shown(table(summarize(classified(tmp_path))))
    assert "toy: 3 seeds, 1,000 updates each" in text
    row = next(line for line in text.splitlines() if "test_accuracy" in line)
    assert [cell.strip() for cell in row.strip("│ ").split("│")] == [
        *("test_accuracy", "0.800", "[0.552, 1.048]", "0.700", "0.900", "3")
    ]
    assert "2.0 s in training chunks, 1,500 updates/s over all rows, 1 x cpu" in text


def test_numbers_of_a_row_share_their_decimals():
    assert alike([0.99214, 0.99102, 0.99326, None]) == ["0.99214", "0.99102", "0.99326", "–"]
    assert alike([499.8, 490.0, 500.0]) == ["499.8", "490.0", "500.0"]
    assert alike([500.0, 500.0]) == ["500", "500"]
    assert alike([3.1e-13, 2.9e-13]) == ["3.1e-13", "2.9e-13"]


def test_folding_weighs_ratios_by_their_counts():
    values = np.array([[1.0, 4.0, np.nan, 8.0, np.nan, np.nan, 9.0]])
    counts = np.array([[1.0, 2.0, 0.0, 3.0, 0.0, 0.0, 9.0]])
    # (1*1 + 2*4) / 3 = 3; a window that counted nothing weighs nothing; two such are missing; the rest is left out.
    np.testing.assert_allclose(fold(values, counts, 2), [[3.0, 8.0, np.nan]])
    # What is no ratio is missing where a window is missing: a diverged row does not come back.
    np.testing.assert_allclose(fold(values, None, 2), [[2.5, np.nan, np.nan]])


def test_series_keep_rows_and_kinds_apart(tmp_path):
    series = {(s.kind, s.name): s for s in read_series(read(classified(tmp_path)))}
    assert {name for _, name in series} == {"loss", "accuracy", "validation_accuracy", "test_accuracy"}
    found = series[EVALUATION, "validation_accuracy"]
    assert found.ticks.tolist() == [50, 100]
    np.testing.assert_allclose(found.values, [[0.6, 0.7], [0.7, 0.8], [0.8, 0.9]])


def test_long_records_are_folded_to_what_a_picture_can_show(tmp_path):
    metrics = [{"tick": tick, "row": 0, "finite": True, "loss": float(tick)} for tick in range(1, 1001)]
    evaluations = [{"tick": tick, "row": 0, "error": float(tick)} for tick in range(800, 1001)]
    series, evaluated = read_series(read(run_folders.write(tmp_path, SEEDS[:1], metrics, evaluations)))
    assert evaluated.values.tolist() == [[float(tick) for tick in range(800, 1001)]], "an evaluation is shown as it is"
    assert series.ticks[:2].tolist() == [10, 20] and series.ticks[-1] == 1000
    np.testing.assert_allclose(series.values[0, :2], [5.5, 15.5])


@pytest.mark.parametrize("name", ["metrics", "evaluations", "timings"])
def test_a_complete_run_that_lost_its_last_line_is_not_reported_from_what_is_left(tmp_path, name):
    classified(tmp_path, final=True)
    path = tmp_path / f"{name}.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]) + lines[-1][:9])
    with pytest.raises(
        Damaged, match=rf"{name}.jsonl lacks lines of tick 100, the last one.*were lost; restore the file"
    ):
        read(tmp_path)


def test_one_quantity_on_three_sets_shares_a_panel(tmp_path):
    series = read_series(read(classified(tmp_path)))
    assert [*arrange(series, ())] == ["accuracy"], "by default what was evaluated"
    assert {s.name for s in arrange(series, ())["accuracy"]} == {"accuracy", "validation_accuracy", "test_accuracy"}
    assert [*arrange(series, ("loss", "test_accuracy", "accuracy"))] == ["loss", "accuracy"]
    with pytest.raises(ValueError, match=r"watch=\['lost'\] names no recorded figure; there are accuracy, loss"):
        arrange(series, ("lost",), strict=True)


def test_the_curve_is_the_mean_with_its_interval():
    axis = Figure().subplots()
    # At the second time mean 2, and 4.30265 / sqrt(3) = 2.48414 on either side; at the first all are equal.
    values = np.array([[5.0, 1.0], [5.0, 2.0], [5.0, 3.0]])
    series = Series("loss", METRIC, np.array([1, 2]), values)
    draw_curve(axis, series, values, np.array([10, 20]), "black", "loss", False)
    mean, *seeds = axis.lines
    np.testing.assert_allclose(mean.get_xydata(), [[10, 5], [20, 2]])
    assert [line.get_ydata().tolist() for line in seeds] == values.tolist()
    (band,) = axis.collections
    corners = band.get_paths()[0].vertices
    np.testing.assert_allclose([corners[:, 1].min(), corners[:, 1].max()], [2 - 2.48414, 5.0], atol=1e-5)


def test_two_seeds_get_no_band_and_many_no_single_lines():
    for n, bands, lines in ((2, 0, 3), (30, 1, 1)):
        axis = Figure().subplots()
        values = np.random.default_rng(0).normal(size=(n, 2))
        draw_curve(axis, Series("loss", METRIC, np.arange(2), values), values, np.arange(2), "black", "", False)
        assert (len(axis.collections), len(axis.lines)) == (bands, lines)


def test_axis_shows_what_occurred():
    def limits(values):
        axis = Figure().subplots()
        cropped = limit(axis, np.stack([np.arange(len(values)), values]))
        return axis.get_yscale(), axis.get_ylim(), cropped

    steps = np.arange(100)
    scale, (low, high), cropped = limits(100 * steps / 99)
    assert (scale, cropped) == ("linear", False) and (low, high) == pytest.approx((-5, 105))
    assert limits(np.exp(-steps / 10))[0] == "log"
    # All of the range lies in the first tenth: the axis is fitted to what follows.
    scale, (low, high), cropped = limits(np.where(steps < 5, 0.1, 0.9 + steps / 1000))
    assert (scale, cropped) == ("linear", True) and 0.9 < low < 0.92 and 0.99 < high < 1.01
    assert limits(np.full(3, np.nan))[2] is False


@pytest.mark.parametrize("case", ["seeds", "one seed", "sweep", "many cells", "diverged", "early"])
@pytest.mark.filterwarnings("error")
def test_every_kind_of_run_is_drawn(tmp_path, case):
    rows = {"one seed": SEEDS[:1], "sweep": SWEEP, "many cells": [(0, {"x": float(x)}) for x in range(20)]}.get(
        case, SEEDS
    )
    lost = case == "diverged"
    metrics = [
        {"tick": tick, "row": row, "finite": not lost, "return": None if lost else 1.0, "return.count": 1.0}
        for tick in range(1, 301)
        for row in range(len(rows))
    ]
    evaluations = [
        {"tick": tick, "row": row, "return": None if lost else float(row)}
        for tick in (100, 200)
        for row in range(len(rows))
    ]
    folder = run_folders.write(
        tmp_path, rows, metrics, [] if case == "early" else evaluations, complete=case != "early"
    )
    path = draw(folder)
    assert path == folder / "curve.png" and not list(folder.glob("*.part"))
    with Image.open(path) as picture:
        assert picture.format == "PNG" and 700 < picture.width < 1800
        assert len(picture.convert("L").getcolors(1 << 16)) > 10, "a blank picture"


def test_places_without_a_panel_stay_empty(tmp_path):
    """Four panels stand in two rows of three: the last two places are white but for the line of text below."""
    evaluations = [{"tick": tick, "row": 0, "a": 1.0, "b": 2.0, "c": 3.0, "d": tick} for tick in (50, 100)]
    with Image.open(draw(run_folders.write(tmp_path, SEEDS[:1], (), evaluations))) as picture:
        grey = np.asarray(picture.convert("L"))
    height, width = grey.shape
    lower = grey[int(0.55 * height) : int(0.85 * height)]
    assert (lower[:, int(0.35 * width) :] == 255).all() and (lower[:, : int(0.3 * width)] < 255).any()


def test_a_caption_says_what_the_lines_do_not(tmp_path):
    def said(rows, values):
        lines = [{"tick": tick, "row": row, "error": x} for tick in (50, 100) for row, x in enumerate(values)]
        run = read(run_folders.write(tmp_path, rows, (), lines))
        return caption(run, arrange(read_series(run), ()), [])

    many = [(seed, {"rate": float(rate)}) for rate in range(8) for seed in (0, 1)]
    assert said(many, [1.0] * 16) == "Line: mean over seeds (n = 2). No bands over so many settings."
    missing = "Where a seed has no value, the mean is over the others, so n is smaller there."
    band = "Line: mean over seeds (n = 3). Band: 95 % t interval of the mean. Thin: single seeds."
    assert said(SEEDS, [1.0, None, 2.0]) == f"{band} {missing}"
    assert said(SEEDS, [None, None, None]) == said(SEEDS, [1.0, 1.0, 1.0]) == band


# Figures of a comparison


def group(values: dict, *scores: float | None) -> Group:
    """A setting whose seeds 0, 1, ... have these errors."""
    entries = (Entry(None, i, {}, i, x is not None, {"error": x}) for i, x in enumerate(scores))
    return Group(values, tuple(entries))


FACTORS = {  # means 2, 6, 4 and, since one seed has no value, none
    (0.1, True): (1.0, 3.0),
    (0.1, False): (6.0, 6.0),
    (0.2, True): (4.0, 4.0),
    (0.2, False): (1.0, None),
}


@pytest.mark.filterwarnings("error")
def test_a_map_has_the_mean_of_each_setting_of_two_fields():
    settings = {names: {"hyper.rate": names[0], "setup.clip": names[1]} for names in FACTORS}
    groups = [group(settings[names], *scores) for names, scores in FACTORS.items()]
    figure = figures.heat_map(groups, "error")
    axis, _ = figure.axes  # beside it the bar of its colours
    np.testing.assert_array_equal(axis.images[0].get_array().filled(np.nan), [[2, 6], [4, np.nan]])
    assert [x.get_text() for x in axis.get_yticklabels()] == ["0.1", "0.2"] and axis.get_ylabel() == "rate"
    assert [x.get_text() for x in axis.get_xticklabels()] == ["true", "false"] and axis.get_xlabel() == "clip"
    # Written at (column, row): black on what is above the middle of 2 and 6, and where there is no colour.
    written = {text.get_position(): (text.get_text(), text.get_color()) for text in axis.texts}
    assert written == {(0, 0): ("2", "white"), (1, 0): ("6", "black"), (0, 1): ("4", "white"), (1, 1): ("–", "black")}
    # None is drawn of a grid with a hole, of one field or three, of a single row, of settings that read alike.
    assert figures.heat_map(groups[:3], "error") is None
    assert figures.heat_map(groups[:2], "error") is None
    assert figures.heat_map([group({"hyper.rate": x}, x) for x in (0.1, 0.2)], "error") is None
    assert figures.heat_map([group(x.values | {"setup.more": 1}, 1.0) for x in groups], "error") is None
    alike = [group({"hyper.rate": a + 1e-9 * i, "setup.clip": b}, 1.0) for i in (0, 1) for a, b in FACTORS]
    assert figures.heat_map(alike, "error") is None
    twice = [
        {"hyper.rate": x, "setup.clip": y} for x, y in ((0.1, True), (0.1 + 1e-9, True), (0.2, True), (0.2, False))
    ]
    assert figures.heat_map([group(x, 1.0) for x in twice], "error") is None, "one twice and one not at all"
    # Where nothing has a value, there are places and no figure.
    figure = figures.heat_map([group(x, None) for x in settings.values()], "error")
    assert {text.get_text() for text in figure.axes[0].texts} == {"–"}


def test_places_on_an_axis_by_hand():
    assert figures.places([1, 3, 2]).tolist() == [0, 1, 0.5]
    np.testing.assert_allclose(figures.places([1e-4, 1e-2, 1e-3]), [0, 1, 0.5])  # more than 30 times: by the logarithm
    assert figures.places(["relu", "tanh", "relu", "gelu"]).tolist() == [0, 0.5, 0, 1]  # as they come
    assert figures.places([(64,), True, None]).tolist() == [0, 0.5, 1]
    assert figures.places([True, True]).tolist() == [0.5, 0.5]


def test_a_profile_has_a_band_from_five_seeds_on():
    five, four = {"": np.arange(5.0)}, {"": np.arange(4.0)}
    for settings, bands in (({"a": five, "b": five}, 2), ({"a": five, "b": four}, 1), ({"a": four}, 0)):
        (axis,) = figures.profile(settings, "error").axes
        assert (len(axis.lines), len(axis.collections)) == (len(settings), bands)
    # Half of 1, 1, 3, 3, ... are above 2, and the band holds that line.
    (axis,) = figures.profile({"a": {"": np.tile([1.0, 3.0], 5)}}, "error").axes
    (line,), (band,) = axis.lines, axis.collections
    middle = np.interp(2.0, *line.get_data())
    heights = [y for x, y in band.get_paths()[0].vertices if 1.5 < x < 2.5]
    assert middle == 0.5 and min(heights) < 0.5 < max(heights)


def test_runs_that_are_not_complete_or_diverged_are_told_of():
    run, waiting = SimpleNamespace(complete=True), SimpleNamespace(complete=False)
    good, bad = Entry(run, 0, {}, 0, True, {}), Entry(run, 1, {}, 1, False, {})
    assert paper.warnings([good]) == []
    assert paper.warnings([good, bad, bad]) == [
        "2 of 3 runs diverged; they have no figures, and their settings no mean."
    ]
    assert paper.warnings([good, good._replace(run=waiting)]) == [
        "1 of 2 runs are not complete: their figures are the newest there are."
    ]


def test_the_report_reads_what_the_engine_writes(tmp_path):
    folder = run(plan_of(tiny("replay"), seeds=2), tmp_path, device_count=1)
    summary, found = summarize(folder), read(folder)
    assert summary["complete"] and (summary["tick"], summary["steps_per_seed"], summary["n"]) == (20, 20, 2)
    last = [line for line in found.evaluations if line["tick"] == 20]
    for name in ("validation_value", "test_value"):
        assert summary[name] == pytest.approx(np.mean([line[name] for line in last if name in line]))
    assert draw(folder).exists()


def test_the_report_loads_no_jax():
    modules = ", ".join(
        f"research.report.{name}" for name in ("curves", "run_folder", "stats", "summary", "tables", "viewers")
    )
    code = f"import sys, {modules}; print(sorted({{'jax', 'flax', 'wandb', 'tensorboardX'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
