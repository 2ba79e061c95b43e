"""Deciding on audit.html, in a real browser where there is one."""

import base64
import csv
import io
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfrefine.app.audit_page.page import AuditedStem, write_audit
from selfrefine.app.labels_table import labels_text, read_labels
from selfrefine.files.table import unguarded
from tests.audited_songs import HOSTILE, Refined, audit_of, decision_of, refined_folder, shown
from tests.chromium import BINARY, Page

pytestmark = pytest.mark.skipif(BINARY is None, reason="no Chromium here")

NAMES = (*HOSTILE, "<!--<script>")
WIDTHS = [(1200, 900), (390, 844)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Refined:
    names = tuple(f"Artist - Song {number}" for number in range(3))
    return refined_folder(tmp_path_factory.mktemp("plain"), names, seconds=20.0)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Refined:
    return refined_folder(tmp_path_factory.mktemp("hostile"), NAMES)


@pytest.fixture
def browser(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    width, height = getattr(request, "param", WIDTHS[0])
    with Page(tmp_path / "profile", width, height) as page:
        yield page


def press(page: Page, *keys: str) -> None:
    for key in keys:
        text = {"text": key} if len(key) == 1 else {}
        page.ask("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        page.ask("Input.dispatchKeyEvent", type="keyUp", key=key)


def click(page: Page, selector: str, share: float = 0.5) -> None:
    """Clicks an element in the middle of its height, at `share` of its width from the left."""
    element = f"document.querySelector({json.dumps(selector)})"
    page.value(f"{element}.scrollIntoView({{block: 'center'}})")
    box = page.value(f"{element}.getBoundingClientRect().toJSON()")
    place = {"x": box["left"] + share * box["width"], "y": box["top"] + box["height"] / 2}
    for kind in ("mousePressed", "mouseReleased"):
        page.ask("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)


def waited_for(page: Page, expression: str) -> bool:
    """Whether the expression becomes true within five seconds."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if page.value(expression):
            return True
        time.sleep(0.05)
    return False


def standing(page: Page) -> str:
    return str(page.value("standing(current)"))


def downloaded(page: Page) -> bytes:
    """The bytes that the download button gives."""
    characters = "Array.from(labelsBytes(), (byte) => String.fromCharCode(byte)).join('')"
    return base64.b64decode(page.value(f"btoa({characters})"))


def rows_in(table: bytes) -> list[dict[str, str]]:
    text = table.decode("utf-8-sig", errors="surrogateescape")
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return [{name: unguarded(cell) for name, cell in row.items()} for row in rows]


def looks(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.value(
        """({
          width: document.documentElement.scrollWidth,
          low: [...document.querySelectorAll("button")].filter(
            (b) => b.offsetHeight > 0 && b.offsetHeight < 40).map((b) => b.textContent),
          cut: [...document.querySelectorAll("button")].filter(
            (b) => b.scrollWidth > b.clientWidth + 1).map((b) => b.textContent),
          cards: document.querySelectorAll("article").length,
          marked: document.querySelectorAll("article[aria-current]").length,
        })"""
    )
    return found


@pytest.mark.parametrize("browser", WIDTHS, indirect=True)
@pytest.mark.parametrize("which", ["plain", "hostile"])
def test_nothing_sticks_out_runs_or_is_asked_for(
    which: str, browser: Page, request: pytest.FixtureRequest
) -> None:
    refined: Refined = request.getfixturevalue(which)
    browser.open(refined.out / "audit.html")
    for _ in range(2):
        found = looks(browser)
        width = browser.value("window.innerWidth")
        assert found["width"] == width
        assert found["low"] == found["cut"] == []
        assert found["cards"] == 4 * len(refined.songs) - 1
        assert found["marked"] == 1
        browser.value("byId('summary').open = true")
        press(browser, "?")
        assert browser.value("byId('keys').open")
        browser.value("byId('keys').close()")
    assert browser.value("document.title") == "Refined labels of <b>in</b>"
    foreign = "document.querySelectorAll('img, iframe, object, embed, link').length"
    assert browser.value(foreign) == 0
    assert browser.messages == []
    assert browser.requests[0] == (refined.out / "audit.html").as_uri()
    # The player's own pictures.
    assert all(request.startswith("data:image/svg+xml") for request in browser.requests[1:])


def test_keys_move_relabel_drop_and_undo(plain: Refined, browser: Page) -> None:
    browser.open(plain.out / "audit.html")

    def place() -> int:
        return int(browser.value("listed.indexOf(current)"))

    press(browser, "k")
    assert place() == 0
    press(browser, "j", "ArrowDown", "j", "ArrowUp")
    assert place() == 2
    middle = browser.value("cardOf(current).root.getBoundingClientRect().toJSON()")
    assert middle["top"] >= 0
    assert middle["bottom"] <= 900
    press(browser, "k", "k")
    given, proposed = browser.value("[cell(current, 'given'), cell(current, 'proposed')]")
    press(browser, "g")
    assert standing(browser) == given
    press(browser, "p")
    assert standing(browser) == proposed
    press(browser, "x")
    assert standing(browser) == ""
    press(browser, "4", "1")
    assert standing(browser) == "vocals+other"
    assert browser.value("cardOf(current).root.innerText.includes('by hand')")
    pressed = "cardOf(current).toggles.map((each) => each.getAttribute('aria-pressed'))"
    assert browser.value(pressed) == ["true", "false", "false", "true"]
    press(browser, "4", "0")
    assert standing(browser) == ""
    assert browser.value("byId('place').innerText").endswith("1 decided by hand")
    press(browser, "j", "3", "u", "u")
    assert (place(), standing(browser)) == (0, "vocals")
    press(browser, *"uuuuuuuuu")
    assert standing(browser) == browser.value("cell(current, 'refined')")
    assert browser.value("byId('place').innerText").endswith("0 decided by hand")
    assert browser.value("byId('undo').disabled")


def test_lists_are_of_what_they_are_called(plain: Refined, browser: Page) -> None:
    browser.open(plain.out / "audit.html")

    def rows(name: str) -> int:
        click(browser, f"[data-filter={name}]")
        return int(browser.value("document.querySelectorAll('article').length"))

    decisions = [each.decision for each in plain.audit.stems if each.decision.probability]
    assert rows("undecided") == 11
    press(browser, "x", "j", "g")
    # What was decided stays in view, and can be taken back, until a list is asked for.
    assert looks(browser)["cards"] == 11
    assert rows("undecided") == 9
    assert rows("dropped") == 1
    assert rows("doubtful") == sum(decision.doubt >= 0.25 for decision in decisions)
    press(browser, "u", "u")
    assert rows("changed") == sum(decision.decision != "keep" for decision in decisions)
    assert rows("multi") == sum(decision.decision == "multi" for decision in decisions)
    assert rows("dropped") == 0
    press(browser, "j", "x", " ", "g")  # there is no stem for them
    assert rows("all") == 11
    assert browser.messages == []


def test_a_download_without_decisions_is_what_refining_wrote(
    hostile: Refined, browser: Page, tmp_path: Path
) -> None:
    browser.open(hostile.out / "audit.html")
    written = (hostile.out / "labels.csv").read_bytes()
    assert downloaded(browser) == written
    browser.ask("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "got"))
    click(browser, "#download")
    end = time.monotonic() + 10
    while not (tmp_path / "got" / "labels.csv").exists() and time.monotonic() < end:
        browser.value("new Promise((resolve) => setTimeout(resolve, 100))")
    assert (tmp_path / "got" / "labels.csv").read_bytes() == written
    assert browser.messages == []


def test_a_download_of_decisions_on_hostile_names_is_read_back(
    hostile: Refined, browser: Page, tmp_path: Path
) -> None:
    browser.open(hostile.out / "audit.html")
    browser.value("for (const stem of data.stems) decide(stem, stem.row % 5 ? 'bass+drums' : '')")
    (tmp_path / "labels.csv").write_bytes(downloaded(browser))
    songs = read_labels(tmp_path / "labels.csv", hostile.source, hostile.songs)
    labels = {(song.name, file.name): file.label for song in songs for file in song.files}
    decisions = [each.decision for each in hostile.audit.stems]
    expected = {
        (decision.song, decision.name): ("bass", "drums")
        for row, decision in enumerate(decisions)
        if row % 5 and decision.probability
    }
    assert labels == expected
    rows = rows_in(downloaded(browser))
    before = rows_in(labels_text(decisions[:1]).encode())
    assert list(rows[0]) == list(before[0])
    for row, decision in zip(rows, decisions, strict=True):
        assert (row["song"], row["file"]) == (decision.song, decision.file)
        assert row["given"] == "+".join(decision.given)
        words = ("drop", "silent throughout") if not decision.probability else None
        words = words or ("multi" if row["refined"] else "drop", "by hand")
        assert (row["decision"], row["reason"]) == words
    assert os.fsencode("latin ") + b"\xe9\xff/bass.wav" in downloaded(browser)


def test_a_carriage_return_in_a_name_is_kept(browser: Page, tmp_path: Path) -> None:
    decision = decision_of("carriage\rreturn", "bass", "carriage\rreturn/bass.wav", 0)
    write_audit(tmp_path / "audit.html", audit_of([AuditedStem(decision, None, None)]))
    browser.open(tmp_path / "audit.html")
    press(browser, "x")
    row = rows_in(downloaded(browser))[0]
    assert row["file"] == "carriage\rreturn/bass.wav"
    assert (row["refined"], row["reason"]) == ("", "by hand")


def test_decisions_survive_a_reload_but_not_other_labels(
    plain: Refined, browser: Page, tmp_path: Path
) -> None:
    browser.open(plain.out / "audit.html")
    press(browser, "x", "j", "1", "2", "3")
    before = downloaded(browser)
    assert before != (plain.out / "labels.csv").read_bytes()
    browser.open(plain.out / "audit.html")
    assert downloaded(browser) == before
    press(browser, "u", "u", "u", "u")
    assert downloaded(browser) == (plain.out / "labels.csv").read_bytes()
    press(browser, "x")
    other = [replace(each, audio=None) for each in plain.audit.stems[1:]]
    write_audit(tmp_path / "audit.html", replace(plain.audit, stems=other))
    browser.open(tmp_path / "audit.html")
    assert browser.value("byHand.size") == 0
    # What another page left under the name is no decision.
    for junk in ("{", "7", '{"a": 1}', "[1, null]", '[[0, "guitar"], [99, ""], [1, 5]]'):
        browser.value(f"localStorage.setItem(store, {json.dumps(junk)})")
        browser.open(tmp_path / "audit.html")
        assert browser.value("byHand.size") == 0
        assert looks(browser)["cards"] == 10
    assert browser.messages == []


def test_a_browser_that_keeps_nothing_says_so(plain: Refined, browser: Page) -> None:
    refusal = "Object.defineProperty(window, 'localStorage', {get() { throw Error('refused'); }})"
    browser.ask("Page.addScriptToEvaluateOnNewDocument", source=refusal)
    browser.open(plain.out / "audit.html")
    press(browser, "x")
    assert standing(browser) == ""
    assert "does not keep decisions" in browser.value("byId('unsaved').innerText")
    assert browser.messages == []


@pytest.mark.parametrize("browser", WIDTHS, indirect=True)
def test_a_click_plays_from_there_and_space_pauses(plain: Refined, browser: Page) -> None:
    browser.open(plain.out / "audit.html")
    audio = "document.querySelectorAll('audio')"
    click(browser, "article:nth-of-type(2) .wave", 0.5)
    assert waited_for(browser, f"!{audio}[1].paused && {audio}[1].currentTime > 10")
    assert browser.value("listed.indexOf(current)") == 1
    assert browser.value(f"{audio}[1].currentTime") < 19
    press(browser, " ")
    assert browser.value(f"{audio}[1].paused")
    click(browser, "article:nth-of-type(1) .stretches span:nth-child(3)", 0.9)
    assert waited_for(browser, f"!{audio}[0].paused && {audio}[0].currentTime > 10")
    press(browser, "j", " ")
    assert waited_for(browser, f"{audio}[0].paused && !{audio}[1].paused")
    titles = browser.value(
        "[...document.querySelectorAll('article:first-child .stretches span')].map((s) => s.title)"
    )
    assert titles[1] == "5.0–10.0 s: too little to judge"
    assert titles[2] == "10.0–15.0 s: vocals+bass+drums+other, confidence 0.91"
    assert browser.value("document.querySelectorAll('article:first-child .wave rect').length") >= 5
    assert browser.messages == []


def test_every_stem_can_be_played(hostile: Refined, browser: Page) -> None:
    browser.open(hostile.out / "audit.html")
    durations = browser.value(
        """Promise.all([...document.querySelectorAll("audio")].map((audio) =>
          new Promise((resolve) => {
            audio.onloadedmetadata = () => resolve(audio.duration);
            audio.onerror = () => resolve(audio.src);
            audio.load();
            audio.preload = "metadata";
          })))"""
    )
    assert durations == [pytest.approx(4.0, abs=0.01)] * (4 * len(NAMES) - 1)


def test_a_click_on_a_button_decides_and_the_next_space_plays(
    plain: Refined, browser: Page
) -> None:
    browser.open(plain.out / "audit.html")
    click(browser, "article:nth-of-type(3) .classes .drums")
    label = standing(browser)
    assert browser.value("listed.indexOf(current)") == 2
    assert browser.value("byHand.size") == 1
    press(browser, " ")
    assert standing(browser) == label
    assert waited_for(browser, "!cardOf(current).audio.paused")
    browser.value("cardOf(current).drop.focus()")
    press(browser, "Enter")
    assert browser.value("byHand.size") == 1


def test_stems_without_sound_or_plots_are_decided_too(browser: Page, tmp_path: Path) -> None:
    decisions = [decision_of(f"song {n}", "bass", f"song {n}/bass.wav", n) for n in range(2)]
    gone = AuditedStem(decisions[1], tmp_path / "stems" / "gone.wav", None, np.zeros(0))
    stems = [AuditedStem(decisions[0], None, None), gone]
    write_audit(tmp_path / "audit.html", audit_of(stems))
    browser.open(tmp_path / "audit.html")
    press(browser, " ", "x", "j", " ", "x")
    assert browser.value("byHand.size") == 2
    assert waited_for(browser, "document.body.innerText.includes('cannot play the file')")
    press(browser, " ")
    assert looks(browser)["cards"] == 2


def test_a_player_that_was_left_does_not_take_the_page_back(browser: Page, plain: Refined) -> None:
    browser.open(plain.out / "audit.html")
    # A browser sends this event some time after the key, so that the next stem may come first.
    browser.value("late = cardOf(current).audio")
    press(browser, " ", "j")
    browser.value("late.dispatchEvent(new Event('play'))")
    assert browser.value("listed.indexOf(current)") == 1
    press(browser, "x")
    assert browser.value("byHand.has(listed[1].row) && !byHand.has(listed[0].row)")


def test_2000_stems_stay_usable(browser: Page, tmp_path: Path) -> None:
    stems = []
    for number in range(2000):
        song = f"Artist - Title {number}"
        decision = decision_of(song, "vocals", f"{song}/vocals.wav", number)
        stems.append(shown(decision, tmp_path / "stems" / "vocals" / f"{song}__vocals.wav"))
    write_audit(tmp_path / "audit.html", audit_of(stems))
    browser.open(tmp_path / "audit.html")
    assert looks(browser)["cards"] == 60
    press(browser, *["j"] * 60, "x")
    assert looks(browser)["cards"] == 120
    assert browser.value("listed.indexOf(current)") == 60
    assert browser.value("byId('more').innerText") == "Show more: 1880 of 2000 are left"
    click(browser, "#more")
    assert looks(browser)["cards"] == 180
    started = time.monotonic()
    press(browser, *["1"] * 10)
    assert time.monotonic() - started < 5
    assert len(rows_in(downloaded(browser))) == 2000
