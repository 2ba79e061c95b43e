"""The report's page in a real browser, where there is one."""

import base64
import json
import re
from pathlib import Path

import pytest
from matplotlib import pyplot

from experiments.noise_rate import NOISE_RATE
from experiments.profiles import PROFILES
from experiments.robust import ROBUST
from reports.figures import FIGURES
from reports.results import Results, collect
from reports.sheets import REPORTED
from reports.studies import shown_studies
from reports.writing import LISTENED, write_reports
from selfrefine.errors import InputError
from tests.chromium import BINARY, Page
from tests.fake_results import paper_store

needs_browser = pytest.mark.skipif(BINARY is None, reason="no Chromium here")

PLAYERS = 2 * (1 + 4 * (1 + len(LISTENED)))
"""The number of players for two songs: the mixture, and per class the reference and each row's
estimate."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    store = paper_store(tmp_path_factory.mktemp("runs"), seeds=2)
    return collect(store, PROFILES["smoke"], "band")


@pytest.fixture(scope="module")
def report(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("output")
    write_reports(["report"], results, folder)
    return folder / "report.html"


def test_the_page_refers_to_nothing_beside_itself(report: Path) -> None:
    text = report.read_text()
    sources = re.findall(r'(?:src|srcset|poster|data)="([^"]{0,30})', text)
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert re.findall(r'<link[^>]*href="([^"]*)"', text) == ["data:,"]
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_every_row_and_seed_has_its_origin(results: Results, report: Path) -> None:
    text = report.read_text()
    for label, ids in results.rows.items():
        # The start is one file, whatever the seed.
        assert len(ids) == (1 if label == "started-recognition/band" else 2)
        assert all(f">{id}<" in text for id in ids)
    for anchor in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{anchor}"' in text
    assert "0123456789ab" in text  # the commit
    assert 'href="https://wandb.example/run"' in text


def test_a_player_holds_an_ogg_file(report: Path) -> None:
    players = re.findall(r'<audio[^>]*src="data:audio/ogg;base64,([^"]+)"', report.read_text())
    assert len(players) == PLAYERS
    assert all(base64.b64decode(data).startswith(b"OggS") for data in players)


@needs_browser
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_a_browser_shows_tables_pictures_and_players_and_asks_for_nothing(
    report: Path, tmp_path: Path, width: int, height: int
) -> None:
    with Page(tmp_path / "profile", width, height) as page:
        page.open(report)
        counts = page.value(
            """({
              sheets: document.querySelectorAll("table.sheet").length,
              rows: [...document.querySelectorAll("table.sheet")].map(
                (table) => table.querySelectorAll("td.label").length),
              pictures: [...document.images].filter((i) => i.complete && i.naturalWidth > 0).length,
              claims: [...document.querySelectorAll("details.claim > summary .verdict")].map(
                (each) => each.textContent),
              width: document.documentElement.scrollWidth,
            })"""
        )
        assert counts["sheets"] == len(REPORTED)
        ours = [len(ROBUST.rows), len(NOISE_RATE.rows)]
        assert counts["rows"] == [8 * 3, 14, 8, 8 * 6, 8, 6, 12, 8 * 3, *ours]
        assert counts["pictures"] == len(FIGURES)
        assert counts["claims"] == ["holds"] * 10
        assert counts["width"] == width  # nothing sticks out sideways
        durations = page.value(
            """Promise.all([...document.querySelectorAll("audio")].map((audio) =>
              new Promise((resolve) => {
                if (audio.readyState > 0) resolve(audio.duration);
                audio.onloadedmetadata = () => resolve(audio.duration);
                audio.onerror = () => resolve(0);
              })))"""
        )
        assert len(durations) == PLAYERS
        assert all(duration == pytest.approx(0.5, abs=0.1) for duration in durations)
        assert page.requests[0] == report.as_uri()
        assert all(request.startswith("data:") for request in page.requests[1:])
        assert page.messages == []


@pytest.fixture(scope="module")
def swept(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a study beside it, in the form in which `sweeps show` writes one."""
    folder = tmp_path_factory.mktemp("swept")
    shown = folder / "sweeps"
    shown.mkdir()
    for name, size in (("curve", (13, 3.6)), ("history", (6, 4)), ("contour", (6, 6))):
        pyplot.figure(figsize=size).savefig(shown / f"rates-{name}.png", dpi=50)
        pyplot.close("all")
    study = {
        "name": "rates",
        "meaning": "SDR <of the validation songs>",
        "about": "Trials: 2 complete",
        "head": ["trial", "value", "separator_rate", "stage"],
        "rows": [["1", "4.2", "0.001", "0123456789ab"], ["0", "4.1", "0.002", "ba9876543210"]],
        "pictures": [[n.capitalize(), f"rates-{n}.png"] for n in ("curve", "history", "contour")],
        "winner": "Row(\n    'swept',\n)" + 100 * "x",
    }
    (shown / "rates.json").write_text(json.dumps(study))
    write_reports(["report"], results, folder)
    return folder / "report.html"


def test_no_sweep_no_section(report: Path) -> None:
    assert "Sweeps" not in report.read_text()


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_what_was_shown_of_a_sweep_stands_in_the_page(
    swept: Path, tmp_path: Path, width: int
) -> None:
    for path in (swept.parent / "sweeps").iterdir():
        path.rename(path.with_name(f"away-{path.name}"))  # the page needs none of them
    try:
        with Page(tmp_path / "profile", width, 900) as page:
            page.open(swept)
            found = page.value(
                """({
                  cells: [...document.querySelectorAll("table.study td")].map((c) => c.innerText),
                  pictures: [...document.querySelectorAll("#sweeps img")].map(
                    (i) => [i.complete && i.naturalWidth, i.width >= 0.95 * i.closest(
                      ".pictures").clientWidth]),
                  text: document.querySelector("#sweeps").innerText,
                  width: document.documentElement.scrollWidth,
                })"""
            )
            assert page.requests[0] == swept.as_uri()
            assert all(request.startswith("data:") for request in page.requests[1:])
            assert page.messages == []
    finally:
        for path in (swept.parent / "sweeps").iterdir():
            path.rename(path.with_name(path.name.removeprefix("away-")))
    assert found["cells"][:4] == ["1", "4.2", "0.001", "0123456789ab"]
    assert [size for size, _ in found["pictures"]] == [650, 300, 300]
    whole = [fills for _, fills in found["pictures"]]
    assert whole == ([True, False, False] if width == 1280 else [True, True, True])
    assert "rates: SDR <of the validation songs>" in found["text"]
    assert "Trials: 2 complete" in found["text"]
    assert found["width"] == width


def test_a_broken_study_is_named_with_its_remedy(swept: Path) -> None:
    shown = swept.parent / "sweeps"
    kept = (shown / "rates.json").read_text()
    try:
        for broken in ("{", "[]", '{"pictures": []}'):
            (shown / "rates.json").write_text(broken)
            with pytest.raises(InputError, match=r"rates.json: not as .* show the study again"):
                shown_studies(swept.parent)
        (shown / "rates.json").write_text(kept.replace("rates-curve", "rates-gone"))
        with pytest.raises(InputError, match=r"rates-gone.png: no such picture"):
            shown_studies(swept.parent)
    finally:
        (shown / "rates.json").write_text(kept)


@needs_browser
def test_a_click_opens_a_claims_numbers(report: Path, tmp_path: Path) -> None:
    with Page(tmp_path / "profile", 1280, 900) as page:
        page.open(report)
        text = page.value(
            """(() => {
              const claim = document.querySelectorAll("details.claim")[1];
              claim.querySelector("summary").click();
              return claim.open ? claim.innerText : "closed";
            })()"""
        )
        assert "x-umx: w/ Psi_refined − noisy (dB)" in text
        assert "+2.37" in text
