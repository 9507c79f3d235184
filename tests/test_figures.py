"""Every picture shows what its CSV says, names what it shows, and has the same bytes twice.

A figure's file holds `draw`, and beside it `COLUMNS` of its frame and `VALUE`, the column that a reader reads off.
"""

import re
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from esgrad import menu
from esgrad.report import style
from esgrad.suite.gathered import Suite
from tests.planted import planted_suite

FIGURES = menu.names("figures")
CAPTIONS = Path(__file__).parents[1] / "workflow" / "report"
MACHADO_DEUTERANOPIA = np.array(  # Machado, Oliveira & Fernandes (2009), severity 1, for linear RGB
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)


@cache
def suite(**keywords) -> Suite:
    return planted_suite(**keywords)


@cache
def drawn(name: str) -> tuple[Figure, pd.DataFrame]:
    return menu.load("figures", name).draw(suite(seeds=3))


def _diverged(whole: Suite) -> Suite:
    last = whole.records.groupby(["experiment", "method", "num_samples", "seed"], dropna=False).cumcount() == 1
    lost = whole.records[last].assign(status="diverged", validation_accuracy=np.nan, test_accuracy=np.nan)
    return replace(whole, records=lost, tuning=whole.tuning.assign(status="diverged", validation_accuracy=np.nan))


def _two_data_sets(whole: Suite) -> Suite:
    other = whole.records.assign(dataset="mnist")
    return replace(whole, records=pd.concat([whole.records, other], ignore_index=True))


SMALL = {"seeds": 2, "methods": ("backprop", "lecture", "openai_es")}
HARD = {
    "one seed": lambda: suite(seeds=1, methods=SMALL["methods"]),
    "one N": lambda: _only(suite(**SMALL), lambda rows: rows["num_samples"].isin([10]) | rows["num_samples"].isna()),
    "no backprop": lambda: _only(suite(**SMALL), lambda rows: rows["method"] != "backprop"),
    "all diverged": lambda: _diverged(suite(**SMALL)),
    "two data sets": lambda: _two_data_sets(suite(**SMALL)),
    "nobody reaches a target": lambda: replace(suite(**SMALL), targets={"progress": [], "accuracy": [0.999]}),
}


def _only(whole: Suite, chosen) -> Suite:
    kept = {part: getattr(whole, part)[chosen(getattr(whole, part))] for part in ("records", "tuning")}
    return replace(whole, **kept)


def _empty(whole: Suite) -> Suite:
    parts = ("records", "tuning", "gradient_quality", "samples_needed", "skipped")
    return replace(whole, **{part: getattr(whole, part).iloc[:0] for part in parts})


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_draws_its_frame(name):
    figure, frame = drawn(name)
    module = menu.load("figures", name)
    assert len(frame)
    assert list(frame.columns) == module.COLUMNS
    numbers, texts = _numbers(figure), _texts(figure)
    for value in frame[module.VALUE].dropna():
        assert f"{value:.3f}".removeprefix("0") in texts or np.isclose(numbers, value, rtol=1e-12).any(), value


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_drawn_that_is_not_in_the_frame(name):
    figure, frame = drawn(name)
    known = frame.select_dtypes("number").to_numpy(dtype=float, na_value=np.nan).ravel()
    known = known[np.isfinite(known)]
    for axes in figure.axes:
        for line in axes.get_lines():
            if not line.get_label().startswith("_"):
                assert all(np.isclose(known, y, rtol=1e-12).any() for y in line.get_ydata()), line
    shown = {text for text in _texts(figure) if re.fullmatch(r"\.\d{3}", text)}
    assert shown <= {f"{value:.3f}".removeprefix("0") for value in known}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_says_what_it_shows(name):
    figure, frame = drawn(name)
    shown = [axes for axes in figure.axes if axes.axison and axes.get_label() != "<colorbar>"]
    for axes in shown:
        beside = [other for other in shown if axes is other or axes.get_shared_x_axes().joined(axes, other)]
        assert any(other.get_xlabel() for other in beside)
        beside = [other for other in shown if axes is other or axes.get_shared_y_axes().joined(axes, other)]
        named = [label.get_text() for other in beside for label in other.get_yticklabels()]
        assert any(other.get_ylabel() for other in beside) or any("N = " in label for label in named)
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    assert legends or any(axes.get_label() == "<colorbar>" for axes in figure.axes)
    assert figure.get_suptitle()
    note = " ".join(_note(figure).split())
    for word in ("n = ", "data: ", "model: "):
        assert word in note
    assert "band" in note or "bar" in note
    if "dataset" in frame:
        assert all(dataset in note for dataset in set(frame["dataset"]))
        assert "3 seeds" in note or "one seed" in note or name == "learning_rate_sensitivity"


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off(name):
    figure, _ = drawn(name)
    with matplotlib.style.context(["default", style.RC]):
        figure.draw_without_rendering()
        used = figure.get_tightbbox()  # inches
    assert min(used.x0, used.y0) > -0.01
    assert used.x1 < figure.get_figwidth() + 0.01
    assert used.y1 < figure.get_figheight() + 0.01


@pytest.mark.parametrize("name", FIGURES)
def test_title_legend_and_footnote_do_not_overlap(name):
    figure, _ = drawn(name)
    with matplotlib.style.context(["default", style.RC]):
        figure.draw_without_rendering()
        boxes = [part.get_window_extent() for part in (*figure.texts, *figure.legends)]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


@pytest.mark.parametrize("name", FIGURES)
def test_equal_suites_give_equal_bytes(name, tmp_path):
    for folder in ("once", "twice"):
        style.save(*menu.load("figures", name).draw(suite(**SMALL)), tmp_path / folder / name)
    once, twice = (sorted((tmp_path / folder).iterdir()) for folder in ("once", "twice"))
    assert [path.name for path in once] == [f"{name}.csv", f"{name}.png", f"{name}.svg"]
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in twice]
    assert b"<dc:date>" not in once[2].read_bytes()


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("case", HARD)
def test_no_suite_is_too_odd_to_draw(name, case):
    module = menu.load("figures", name)
    figure, frame = module.draw(HARD[case]())
    with matplotlib.style.context(["default", style.RC]):
        figure.draw_without_rendering()
    assert list(frame.columns) == module.COLUMNS


@pytest.mark.parametrize("name", FIGURES)
def test_an_empty_suite_is_said_in_words(name):
    module = menu.load("figures", name)
    figure, frame = module.draw(_empty(suite(**SMALL)))
    assert frame.empty
    assert list(frame.columns) == module.COLUMNS
    assert any(re.search(r"\bno(t|ne)?\b", text, re.IGNORECASE) for text in _texts(figure))


def test_every_figure_has_a_caption_and_every_caption_a_figure():
    of_the_report = {"figure", "tables", "workflow"}
    assert sorted({path.stem for path in CAPTIONS.glob("*.rst")} - of_the_report) == FIGURES


@pytest.mark.parametrize("name", FIGURES)
def test_a_caption_says_how_to_read_the_figure_and_has_no_results(name):
    caption = (CAPTIONS / f"{name}.rst").read_text(encoding="utf-8")
    assert "*How to read it.*" in caption
    assert "*What to look for.*" in caption
    assert not re.search(r"0\.\d|{{|{%", caption)


def test_a_method_has_one_colour_in_every_figure():
    seen: dict[str, set[str]] = {}
    for name in FIGURES:
        for axes in drawn(name)[0].axes:
            for line in axes.get_lines():
                seen.setdefault(str(line.get_label()).split(",")[0], set()).add(
                    matplotlib.colors.to_hex(line.get_color())
                )
    for method in style.COLOURS:
        assert seen[style.label(method)] == {style.colour(method)}


def test_one_method_at_two_n_has_two_markers():
    panel = drawn("digit_sum")[0].axes[0]
    lines = [line for line in panel.get_lines() if str(line.get_label()).startswith(style.label("lecture"))]
    assert len(lines) == 2
    assert len({line.get_linewidth() for line in lines}) == 2
    assert len({line.get_markerfacecolor() for line in lines}) == 2


def test_an_arrow_and_k_of_n_mark_the_ratios_of_censored_runs():
    methods = ("backprop", "smoothed", "lecture", "mirrored", "openai_es")
    ten = suite(experiments=("headline",), methods=methods)
    figure, frame = menu.load("figures", "slower_than_backprop").draw(ten)
    notes = [text for axes in figure.axes for text in axes.texts if re.fullmatch(r" \d+/\d+", text.get_text())]
    assert len(notes) == (frame["censored"] > 0).sum() > np.isinf(frame["ratio_high"]).sum() > 0
    arrows = [note for note in notes if note.arrow_patch is not None]
    assert len(arrows) == np.isinf(frame["ratio_high"]).sum() > frame["lower_bound"].sum() > 0
    hollow = [line for axes in figure.axes for line in axes.get_lines() if line.get_markerfacecolor() == "white"]
    assert len(hollow) == frame["lower_bound"].sum() + 1  # and the legend's
    beyond = frame[frame["lower_bound"]]
    assert (beyond["dot"] == beyond["ratio_low"]).all()
    assert np.isinf(beyond["ratio_to_backprop"]).all()


def test_one_method_with_two_black_boxes_has_two_line_styles():
    panel = drawn("error_against_queries")[0].axes[0]
    lines = [line for line in panel.get_lines() if str(line.get_label()).startswith(style.label("openai_es"))]
    assert {line.get_color() for line in lines} == {style.colour("openai_es")}
    assert {line.is_dashed() for line in lines} == {False, True}


def test_a_new_method_gets_a_colour_by_its_name_and_the_old_ones_keep_theirs():
    assert style.colour("orthogonal") == style.colour("orthogonal")
    assert style.colour("orthogonal") in style.SPARE
    assert style.order(["zzz", "maxrl", "backprop", "abc"]) == ["backprop", "maxrl", "abc", "zzz"]


@pytest.mark.parametrize("view", [np.eye(3), MACHADO_DEUTERANOPIA], ids=["normal", "deuteranopia"])
def test_colours_can_be_told_apart(view):
    colours = [*style.COLOURS.values(), *style.SPARE]
    assert min(np.linalg.norm(_lab(a, view) - _lab(b, view)) for a, b in combinations(colours, 2)) > 15  # ΔE*ab


def test_drawing_leaves_the_readers_settings_alone():
    before = dict(matplotlib.rcParams)
    figure, _ = menu.load("figures", FIGURES[0]).draw(suite(**SMALL))
    assert dict(matplotlib.rcParams) == before
    assert not hasattr(figure, "number")  # of pyplot, which would keep it


def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path):
    figure, frame = Figure(), pd.DataFrame({"a": [1]})
    style.save(figure, frame, tmp_path / "picture")
    before = (tmp_path / "picture.csv").read_bytes()
    with pytest.raises(AttributeError):
        style.save(figure, None, tmp_path / "picture")
    assert (tmp_path / "picture.csv").read_bytes() == before
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".png", ".svg"]


def _numbers(figure: Figure) -> np.ndarray:
    """All coordinates of lines and of scattered points, [numbers]."""
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    data = [np.asarray(part, dtype=float) for line in lines for part in (line.get_xdata(), line.get_ydata())]
    points = [each for axes in figure.axes for each in axes.collections if isinstance(each, PathCollection)]
    data += [np.asarray(each.get_offsets(), dtype=float).ravel() for each in points]
    return np.concatenate([np.atleast_1d(part) for part in data] or [np.array([])])


def _texts(figure: Figure) -> set[str]:
    return {text.get_text() for owner in (figure, *figure.axes) for text in owner.texts}


def _note(figure: Figure) -> str:
    return next(text.get_text() for text in figure.texts if text.get_text().startswith("n = "))


def _lab(colour: str, view: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of a colour as the eyes described by `view` see it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    white = np.array([0.9505, 1, 1.089])
    ratio = np.array(to_xyz) @ np.clip(view @ linear, 0, 1) / white
    x, y, z = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


VARYING = ("accuracy_against_variance", "regret", "sigma_over_spread")


@pytest.mark.parametrize("name", VARYING)
def test_what_shows_t_draws_the_experiments_that_vary_it_and_not_one_where_it_was_tuned(name):
    """The first experiment has another t for each N of a method, chosen by tuning: nothing varies there."""
    suite = planted_suite(["headline", "variance"], seeds=3)
    records = suite.records.copy()
    tuned = (records["experiment"] == "headline") & (records["method"] == "openai_es")
    records.loc[tuned, "noise_variance"] = records.loc[tuned, "num_samples"].astype(float) * 1e-3
    assert records.loc[tuned, "noise_variance"].nunique() > 1
    _, drawn = menu.load("figures", name).draw(replace(suite, records=records))
    _, expected = menu.load("figures", name).draw(planted_suite(["variance"], seeds=3))
    assert len(drawn)
    assert set(drawn["noise_variance"].dropna()) == set(expected["noise_variance"].dropna())
