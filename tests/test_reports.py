"""Reports from a store that holds the paper's numbers are complete and right."""

import csv
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.text import Text
from scipy import stats

from experiments.profiles import PROFILES
from experiments.registry import TABLES
from experiments.store import Store
from reports.__main__ import main
from reports.claims import NOT_RUN, decide
from reports.exported import export, load_results
from reports.figures import FIGURES, draw
from reports.joined import joined_results
from reports.measures import (
    Measure,
    all_measures,
    combined,
    drawn_items,
    drawn_weights,
    separation_measures,
)
from reports.results import Record, Results, collect
from reports.sheets import REPORTED, caption, sheet, sheets_of
from reports.writers import latex, latex_escaped, markdown
from reports.writing import LISTENED, REPORTS, write_reports
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from tests.fake_results import paper_store

SMOKE = PROFILES["smoke"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with one seed of every table."""
    return paper_store(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def results(store: Store) -> Results:
    return collect(store, SMOKE, "band")


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Results of three seeds of Table 5, and of no other table."""
    store = paper_store(tmp_path_factory.mktemp("runs"), seeds=3, targets=("table5",))
    return collect(store, SMOKE, "band")


@pytest.fixture(scope="module")
def written(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("output")
    write_reports(list(REPORTS), results, folder)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_every_report_is_written(written: Path) -> None:
    expected = {f"{name}{ending}" for name in REPORTED for ending in (".md", ".csv", ".tex")}
    expected |= {f"{name}{ending}" for name in FIGURES for ending in (".png", ".svg", ".csv")}
    assert {path.name for path in written.iterdir()} == expected | {"claims.md", "report.html"}
    assert all(path.stat().st_size > 100 for path in written.iterdir())


@pytest.mark.parametrize("name", ["table2", "table3", "table5"])
def test_a_cell_stands_beside_the_papers_and_their_difference(name: str, written: Path) -> None:
    cells = [cell for cell in rows(written / f"{name}.csv") if cell["column"] != "gap closed"]
    assert len(cells) == 5 * len(TABLES[name].rows)
    for cell in cells:
        row = TABLES[name].row(cell["row"].split("/")[1])
        assert cell["whose"] == ("ours" if row.ours else "paper")
        if row.ours:
            assert (cell["paper"], cell["difference"]) == ("", "")
            continue
        assert float(cell["paper"]) == row.paper[cell["column"]]
        # The store's songs have the printed cells as their medians.
        assert float(cell["ours"]) == pytest.approx(float(cell["paper"]), abs=0.011)
        assert float(cell["difference"]) == pytest.approx(
            float(cell["ours"]) - float(cell["paper"]), abs=1e-4
        )


@pytest.mark.parametrize("name", ["table2", "table3", "table5", "options"])
def test_every_separator_has_its_share_of_the_gap_in_every_output(name: str, written: Path) -> None:
    cells = {cell["row"]: cell for cell in rows(written / f"{name}.csv") if cell["column"] == "avg"}
    shares = {
        cell["row"]: cell for cell in rows(written / f"{name}.csv") if "gap" in cell["column"]
    }
    assert list(shares) == [f"{name}/{row.name}" for row in REPORTED[name].rows]
    for row in REPORTED[name].rows:
        noisy, own, uncorrupted = (
            float(cells[f"{name}/{each}"]["ours"]) for each in (row.gap[0], row.name, row.gap[1])
        )
        expected = 100 * (own - noisy) / (uncorrupted - noisy)
        assert float(shares[f"{name}/{row.name}"]["ours"]) == pytest.approx(expected, abs=0.02)
    shown = f"{float(shares[f'{name}/{REPORTED[name].rows[0].name}']['ours']):.0f}"
    assert f"{shown}%" in (written / f"{name}.md").read_text()
    assert rf"{shown}\%" in (written / f"{name}.tex").read_text()
    page = (written / "report.html").read_text()
    assert f"<b>{shown}%</b>" in page.split(f'<h3 id="{name}"')[1].split("</table>")[0]


def test_reference_rows_are_marked_in_every_output(written: Path) -> None:
    for name, mark in (("table2.md", "†"), ("report.html", "†"), ("table2.tex", r"$\dagger$")):
        text = unescape((written / name).read_text())
        assert f"uncorrupted {mark}" in text
        assert f"{mark} reference rows of ours, not in the paper's table." in text
    assert "†" not in (written / "table1.md").read_text()


def test_recognition_tables_hold_every_measure_of_both_tests(written: Path) -> None:
    cells = rows(written / "table4.csv")
    assert len(cells) == 2 * 4 * 6 * 5
    found = {(c["row"], c["test"], c["measure"], c["column"]): c for c in cells}
    mixtures = found["table4/clean", "random mixtures", "recall", "avg"]
    assert float(mixtures["ours"]) == pytest.approx(0.896, abs=0.01)
    accuracy = found["table4/clean", "random mixtures", "accuracy (%)", "avg"]
    assert float(accuracy["ours"]) == pytest.approx(float(accuracy["paper"]), abs=0.5)
    lost = found["table4/iteration-5", "random mixtures", "accuracy (%)", "avg"]
    assert (lost["paper"], lost["difference"]) == ("", "")


def test_markdown_says_the_scale_the_intervals_and_the_label_audit(written: Path) -> None:
    text = (written / "table2.md").read_text()
    assert "its numbers mean nothing" in text
    assert "there is no interval across seeds" in text
    assert "none (one run)" in text
    assert "4.99 (4.99, +0.00)" in text
    assert "| as given" in text
    assert "threshold 0.45 (paper 0.9)" in text


def test_several_seeds_give_an_interval_across_them(seeded: Results) -> None:
    measures = all_measures(seeded)
    table = sheets_of(seeded, measures)["table5"]
    assert "± half the 95% interval across 3 seeds (Student's t)" in caption(table)
    assert "Intervals over 9 test songs: 95%" in caption(table)
    assert re.search(r"4\.28 ± 0\.01 \(4\.28", markdown(table))
    measure = measures["table5/refined-2"]["avg"]
    assert measure.seeds == (0, 1, 2)
    theirs = stats.t.interval(0.95, 2, loc=measure.values.mean(), scale=stats.sem(measure.values))
    ours = measure.across_seeds
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx(theirs)


def record(tracks: np.ndarray, seed: int = 0) -> Record:
    named = {str(n): dict(zip(CLASSES, row, strict=True)) for n, row in enumerate(tracks.tolist())}
    return Record("id", "separation-score", "name", seed, (), {"tracks": named}, {})


def test_the_bootstrap_over_songs_agrees_with_scipys() -> None:
    tracks = np.random.default_rng(3).normal(4, 1, (50, 4))
    ours = separation_measures([record(tracks)])["vocals"].over_items
    theirs = stats.bootstrap(
        (tracks[:, 0],), np.median, n_resamples=5000, method="percentile", rng=0
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.1)


def test_songs_that_cannot_be_scored_do_not_count() -> None:
    tracks = np.array([[1.0] * 4, [2.0] * 4, [9.0] * 4, [math.nan] * 4])
    measures = separation_measures([record(tracks)])
    assert measures["avg"].value == 2.0
    assert measures["avg"].resampled.max() == 9.0
    assert measures["avg"].items == 3


def test_a_class_is_scored_over_the_songs_that_have_it() -> None:
    tracks = np.array([[1.0, 5, 5, 5], [2.0, 6, 6, 6], [math.nan, 7, 7, 7], [math.nan, 8, 8, 8]])
    measures = separation_measures([record(tracks)])
    assert measures["vocals"].value == 1.5
    assert measures["bass"].value == 6.5
    assert measures["avg"].value == (1.5 + 3 * 6.5) / 4
    assert [measures[name].items for name in ("vocals", "bass", "avg")] == [2, 4, 4]
    # Draws of songs without vocals say nothing of the average.
    assert np.isnan(measures["avg"].resampled).any()
    assert math.isfinite(measures["avg"].over_items.low)
    assert math.isfinite(measures["avg"].over_both.low)


def test_the_caption_counts_the_songs_of_a_class_where_they_differ() -> None:
    tracks = np.array([[1.0, 5, 5, 5], [2.0, 6, 6, 6], [math.nan, 7, 7, 7]])
    measures = {"table2/x-umx-noisy": separation_measures([record(tracks)])}
    text = caption(sheet(TABLES["table2"], measures))
    assert "vocals in 2, bass in 3, drums in 3, other in 3" in text
    whole = {"table2/x-umx-noisy": separation_measures([record(tracks[:2])])}
    assert "vocals in" not in caption(sheet(TABLES["table2"], whole))


def test_differences_are_paired_song_by_song_and_seed_by_seed() -> None:
    songs = np.random.default_rng(0).normal(0, 5, (40, 4))
    one = separation_measures([record(songs, 0), record(songs + 0.5, 1)])["avg"]
    other = separation_measures([record(songs - 1, 0), record(songs - 0.5, 1)])["avg"]
    difference = combined(np.subtract, one, other)
    assert difference is not None
    assert difference.value == pytest.approx(1)
    # Songs vary by 5 dB, their differences not at all.
    assert difference.over_items.high - difference.over_items.low < 1e-9
    assert difference.across_seeds is not None
    assert difference.across_seeds.high == pytest.approx(1)


def test_a_difference_takes_the_seeds_that_both_have() -> None:
    songs = np.zeros((5, 4))
    both = separation_measures([record(songs, 0), record(songs + 1, 1)])["avg"]
    one = separation_measures([record(songs, 1)])["avg"]
    difference = combined(np.subtract, both, one)
    assert difference is not None
    assert difference.seeds == (1,)
    assert difference.value == 1
    assert combined(np.subtract, one, separation_measures([record(songs, 2)])["avg"]) is None


def test_weights_count_the_bootstraps_picks() -> None:
    weights = drawn_weights(7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights[3].tolist() == np.bincount(drawn_items(7)[3], minlength=7).tolist()


def test_a_single_run_has_no_interval_across_seeds() -> None:
    assert Measure((0,), np.array([1.0]), np.zeros((1, 5)), 9).across_seeds is None


@pytest.mark.parametrize("name", list(TABLES))
def test_latex_is_well_formed(name: str, results: Results, written: Path) -> None:
    text = (written / f"{name}.tex").read_text()
    assert text.count("{") == text.count("}")
    assert re.findall(r"\\begin\{(\w+)\}", text) == ["table", "tabular"]
    assert re.findall(r"\\end\{(\w+)\}", text) == ["tabular", "table"]
    shown = sheets_of(results, all_measures(results))[name]
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)
    assert columns is not None
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
    lines = [line for line in body.splitlines() if line.strip().endswith(r"\\")]
    printed = [each.average.paper is not None for each in shown.lines]
    groups = [line for line in lines if "multicolumn" in line]
    assert len(groups) == len({each.labels[:-1] for each in shown.lines} - {()})
    assert len(lines) - len(groups) == 1 + len(printed) + sum(printed)
    for line in set(lines) - set(groups):
        assert len(re.findall(r"(?<!\\)&", line)) == len(columns[1]) - 1
    # Nothing that LaTeX would read as a command or refuse.
    assert not re.search(r"(?<!\\)[_#%^~]", text.replace("% needs", ""))
    assert text.isascii()


def test_latex_escapes_what_it_would_read_as_commands() -> None:
    assert latex_escaped("w/ Psi_x & 50% −1 ± 2") == r"w/ Psi\_x \& 50\% $-$1 $\pm$ 2"


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here")
def test_latex_compiles(seeded: Results, written: Path, tmp_path: Path) -> None:
    tables = [(written / f"{name}.tex").read_text() for name in TABLES]
    tables.append(latex(sheets_of(seeded, all_measures(seeded))["table5"]))
    text = "\n".join(
        [
            r"\documentclass{article}\usepackage{booktabs}\begin{document}",
            *tables,
            r"\end{document}",
        ]
    )
    (tmp_path / "all.tex").write_text(text)
    made = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "all.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout[-2000:]


def test_figure_4_agrees_with_table_1(written: Path) -> None:
    curve = {
        (row["test"], row["class"], row["threshold"]): row for row in rows(written / "figure4.csv")
    }
    recalls = [float(curve["multi", name, "0.4500"]["recall"]) for name in CLASSES]
    table = next(
        row
        for row in rows(written / "table1.csv")
        if (row["row"], row["test"], row["measure"], row["column"])
        == ("table1/refined", "random mixtures", "recall", "avg")
    )
    assert np.mean(recalls) == pytest.approx(float(table["ours"]), abs=1e-3)
    assert len(curve) == 2 * 4 * 99


def test_the_refining_figure_has_the_papers_curve_beside_ours(written: Path) -> None:
    averages = [row for row in rows(written / "refining.csv") if row["column"] == "avg"]
    assert [row["refinements"] for row in averages] == ["0", "1", "2", "3", "4", "5"]
    assert [float(row["paper"]) for row in averages] == [1.91, 3.74, 4.28, 3.98, 4.09, 4.12]


def test_the_label_figure_counts_dropped_stems_and_sets(written: Path) -> None:
    counts = {
        (row["labels"], row["truth"], row["label"]): int(row["stems"])
        for row in rows(written / "labels.csv")
    }
    assert {key[0] for key in counts} == {"as given", "after Psi_noisy", "after Psi_refined"}
    assert counts["after Psi_refined", "vocals", "dropped"] == 1
    assert counts["after Psi_refined", "bass+drums", "bass+drums"] == 2


def test_the_training_figure_has_each_look_at_each_training(written: Path) -> None:
    found = rows(written / "training.csv")
    names = [f"table2/{row.name}" for row in TABLES["table2"].rows]
    names += [f"table4/{row.name}" for row in TABLES["table4"].rows]
    assert list(dict.fromkeys(row["row"] for row in found)) == names
    for name in names:
        kind = "sdr" if name.startswith("table2") else "f1"
        looks = [row for row in found if (row["row"], row["measure"]) == (name, f"{kind}/bass")]
        assert [(row["step"], float(row["value"])) for row in looks] == [
            ("100", 0.25),
            ("200", 0.5),
            ("300", 0.75),
        ]


def test_trainings_that_nobody_watched_leave_no_figure(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(replace(results, looks={}), tmp_path / "kept", LISTENED)
    write_reports(["training"], load_results(tmp_path / "kept"), tmp_path)
    assert "training: nothing to draw it from" in capsys.readouterr().out
    assert not (tmp_path / "training.csv").exists()


def test_every_song_of_every_row_is_in_the_song_figure(written: Path) -> None:
    found = rows(written / "tracks.csv")
    # The paper's seventeen separators and Table 2's reference rows.
    assert len({row["row"] for row in found}) == 17 + 4
    assert len(found) == (17 + 4) * 10


def test_the_gap_figure_has_every_row_of_table_2_and_its_share(written: Path) -> None:
    found = rows(written / "gap.csv")
    assert [row["row"] for row in found] == [f"table2/{row.name}" for row in TABLES["table2"].rows]
    shares = {
        cell["row"]: cell["ours"]
        for cell in rows(written / "table2.csv")
        if "gap" in cell["column"]
    }
    assert {row["row"]: row["gap_closed"] for row in found} == shares
    assert [row["paper"] == "" for row in found] == [row.ours for row in TABLES["table2"].rows]


def test_no_text_of_the_gap_figure_lies_on_another(results: Results, seeded: Results) -> None:
    for each in (results, seeded):
        drawing = draw("gap", each, all_measures(each))
        if drawing is None:
            continue
        figure = drawing.figure
        figure.draw_without_rendering()
        renderer = figure.canvas.get_renderer()
        texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        boxes = [text.get_window_extent(renderer) for text in texts]
        overlapping = [
            (texts[one].get_text(), texts[other].get_text())
            for one in range(len(boxes))
            for other in range(one)
            if boxes[one].overlaps(boxes[other])
        ]
        assert overlapping == []
        plt.close(figure)


def test_exported_results_rebuild_every_report_without_the_store(
    results: Results, written: Path, tmp_path: Path
) -> None:
    export(results, tmp_path / "results", LISTENED)
    again = load_results(tmp_path / "results")
    assert again.rows == results.rows
    write_reports(list(REPORTS), again, tmp_path / "output")
    for path in written.iterdir():
        if path.suffix != ".png":  # its bytes are the plotting library's affair
            assert (tmp_path / "output" / path.name).read_bytes() == path.read_bytes(), path.name
    size = sum(path.stat().st_size for path in (tmp_path / "results").rglob("*") if path.is_file())
    assert size < 5e6


def test_joined_results_have_the_runs_of_both_by_seed(
    seeded: Results, results: Results, tmp_path: Path
) -> None:
    row = "table5/refined-0"
    every = {seeded.stages[id].seed: id for id in seeded.rows[row]}
    first = replace(seeded, rows={row: (every[2],)})
    second = replace(seeded, rows={row: (every[0], every[1])})
    both = joined_results(first, second)
    assert both.rows[row] == (every[0], every[1], every[2])
    assert joined_results(results, seeded).rows["table1/clean"] == results.rows["table1/clean"]
    export(both, tmp_path / "both", [])
    assert load_results(tmp_path / "both").rows[row] == both.rows[row]


def test_what_is_joined_keeps_its_runs_with_all_behind_them(seeded: Results) -> None:
    row = "table5/refined-0"
    earlier = seeded.stages[seeded.rows[row][0]]
    shared = next(each for each in seeded.behind(earlier) if each.kind == "trimmed")
    here = {
        each.id: replace(each, run={**each.run, "commit": "here"})
        for each in seeded.stages.values()
    }
    more = replace(seeded, rows={row: (earlier.id,)}, data_rows={})
    both = joined_results(replace(seeded, stages=here), more)
    assert both.rows[row] == seeded.rows[row]
    commits = [both.stages[id].run["commit"] for id in both.rows[row]]
    assert commits == [earlier.run["commit"], "here", "here"]
    assert both.stages[shared.id] == shared


def test_runs_of_an_earlier_version_are_not_joined(
    seeded: Results, caplog: pytest.LogCaptureFixture
) -> None:
    row = "table5/refined-0"
    ours, theirs = (seeded.stages[id] for id in seeded.rows[row][:2])
    of_today = replace(seeded, rows={row: (ours.id,)})
    old = replace(theirs, id="0" * 12)
    earlier = replace(seeded, rows={row: (old.id,)}, stages=seeded.stages | {old.id: old})
    assert joined_results(of_today, earlier).rows[row] == (ours.id,)
    assert "1 runs are left out" in caplog.text


def test_results_of_another_profile_are_not_joined(seeded: Results) -> None:
    with pytest.raises(InputError, match="band-mini cannot be joined to those of band-smoke"):
        joined_results(seeded, replace(seeded, profile="mini"))


def test_the_command_joins_an_earlier_export_in_its_place(
    store: Store, seeded: Results, tmp_path: Path
) -> None:
    place = tmp_path / "small"
    export(seeded, place, LISTENED)
    words = ["--profile", "smoke", "--store", str(store.root), "--join", str(place)]
    assert main(["export", *words, "--to", str(place)]) == 0
    again = load_results(place)
    assert len(again.rows["table5/refined-0"]) == 3
    assert len(again.rows["table1/clean"]) == 1


def test_results_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not results"):
        load_results(tmp_path)
    (tmp_path / "results.json").write_text('{"format": 9}')
    with pytest.raises(InputError, match="format 9"):
        load_results(tmp_path)


def test_exported_results_are_a_few_files_that_a_person_can_open(
    results: Results, tmp_path: Path
) -> None:
    export(results, tmp_path, LISTENED)
    tables = {"results.json", "rows.csv", "outputs.csv", "validation.csv"}
    assert {path.name for path in tmp_path.iterdir()} == {*tables, "examples"}
    # By the names of rows and songs, mixtures and references once.
    names = [label.split("/")[1] for label in LISTENED]
    folders = {path.name for path in (tmp_path / "examples").iterdir() if path.is_dir()}
    assert folders == set(names)
    lines = rows(tmp_path / "rows.csv")
    assert len(lines) == sum(len(ids) for ids in results.rows.values())
    line = next(line for line in lines if line["row"] == "table2/x-umx-noisy")
    record = results.runs("table2/x-umx-noisy")[0]
    assert line["stage"] == record.id
    assert float(line["bass"]) == pytest.approx(record.result["sdr"]["bass"], abs=1e-4)


def test_results_without_reference_rows_make_tables_without_them(results: Results) -> None:
    older = {
        label: ids
        for label, ids in results.rows.items()
        if not any(label.endswith(row.name) for row in TABLES["table2"].rows if row.ours)
        and label.split("/")[1] not in ("noisy", "uncorrupted")
    }
    shown = sheets_of(replace(results, rows=older), all_measures(replace(results, rows=older)))
    assert "gap closed" not in shown["table2"].columns
    assert len(shown["table2"].lines) == 10
    assert "†" not in markdown(shown["table2"])


def test_the_committed_results_can_be_read() -> None:
    committed = load_results(Path(__file__).parents[1] / "results" / "band-mini")
    measures = all_measures(committed)
    text = markdown(sheets_of(committed, measures)["table2"])
    assert "X-UMX" in text
    assert "not run" not in text
    assert all(claim.verdict != NOT_RUN for claim in decide(measures))


def test_an_empty_store_makes_reports_that_say_so(tmp_path: Path) -> None:
    words = ("--profile", "smoke", "--store", str(tmp_path / "runs"), "--output", str(tmp_path))
    assert main(["all", *words]) == 0
    folder = tmp_path / "band-smoke"
    assert "not run" in (folder / "table2.md").read_text()
    assert (folder / "claims.md").read_text().count("| not run") >= 10
    assert "None could be drawn yet" in (folder / "report.html").read_text()
    assert not (folder / "figure4.png").exists()


def test_the_command_exports_and_reports_from_what_it_exported(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, out = str(tmp_path / "small"), str(tmp_path / "out")
    assert main(["export", "--profile", "smoke", "--store", str(store.root), "--to", place]) == 0
    assert main(["table2", "claims", "--results", place, "--output", out]) == 0
    told = capsys.readouterr()
    assert "earlier version" not in told.err
    assert "w/ Psi_refined" in told.out
    assert "9. More than two refinements bring no further gain: holds" in told.out
    assert (tmp_path / "out" / "band-smoke" / "table2.csv").exists()


def test_results_of_an_earlier_version_are_said_to_be_so(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(results, tmp_path / "small", [])
    path = tmp_path / "small" / "results.json"
    old = results.rows["table2/x-umx-noisy"][0]
    path.write_text(path.read_text().replace(old, "0" * 12))
    assert main(["claims", "--results", str(path.parent), "--output", str(tmp_path)]) == 0
    assert "results of an earlier version" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["table9"], "no report called 'table9'; choose from table1"),
        (["export"], "name a folder with --to"),
        (["table2", "--results", "nowhere"], "not results as"),
        (["table2", "--test", "mine"], "no test called 'mine'; choose one of band, folder"),
        (["table2", "--profile", "huge"], "choose one of smoke, mini, lite, paper"),
    ],
)
def test_bad_words_get_one_line_and_exit_code_2(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--store", str(tmp_path / "runs")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert says in told
    assert told.count("\n") == 1
