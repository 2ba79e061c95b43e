"""The report's page in a real browser, where there is one."""

import base64
import re
from pathlib import Path

import pytest

from experiments.profiles import PROFILES
from experiments.registry import TABLES
from reports.figures import FIGURES
from reports.results import Results, collect
from reports.writing import LISTENED, write_reports
from tests.chromium import BINARY, Page
from tests.fake_results import paper_store

needs_browser = pytest.mark.skipif(BINARY is None, reason="no Chromium here")

PLAYERS = 2 * (1 + 4 * (1 + len(LISTENED)))
"""Two songs: the mixture, and per instrument the reference and each row's estimate."""


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
    for ids in results.rows.values():
        assert len(ids) == 2
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
        assert counts["sheets"] == len(TABLES)
        assert counts["rows"] == [8 * 3, 10, 6, 8 * 6, 7]
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
