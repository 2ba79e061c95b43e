"""The contents of audit.html. `test_audit_deciding` uses the page in a browser."""

import base64
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selfrefine.app.audit_page.data import (
    COLUMNS,
    MOST_POINTS,
    Curve,
    curve_record,
    packed_waveform,
)
from selfrefine.app.audit_page.page import AuditedStem, write_audit
from tests.audited_songs import PageParts, Refined, audit_of, decision_of, refined_folder, shown


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Refined:
    names = tuple(f"Artist - Song {number}" for number in range(3))
    return refined_folder(tmp_path_factory.mktemp("plain"), names, seconds=20.0)


def test_the_page_holds_the_labels_as_written_and_doubtful_stems_first(plain: Refined) -> None:
    data = PageParts((plain.out / "audit.html").read_text()).data()
    written = (plain.out / "labels.csv").read_bytes()
    assert data["labels"].encode() == written
    assert data["digest"] == hashlib.sha256(written).hexdigest()
    doubts = [each["doubt"] for each in data["stems"]]
    assert doubts == sorted(doubts, reverse=True)
    assert sorted(each["row"] for each in data["stems"]) == list(range(11))
    text = (plain.out / "audit.html").read_text()
    assert "Not usable" in text
    assert "silent throughout" in text
    assert "Refined labels of &lt;b&gt;in" in text


def test_how_sure_is_right_is_shown_where_it_is_known(plain: Refined, tmp_path: Path) -> None:
    assert "How sure is right" not in (plain.out / "audit.html").read_text()
    rows = [("0.5 to 0.9", "20", "0.72", "0.75")]
    stems = [replace(each, audio=None) for each in plain.audit.stems]
    audit = replace(plain.audit, stems=stems, reliability=rows)
    write_audit(tmp_path / "audit.html", audit)
    page = (tmp_path / "audit.html").read_text()
    assert "How sure is right" in page
    assert "<td>0.5 to 0.9</td><td>20</td><td>0.72</td><td>0.75</td>" in page


def test_no_name_ends_the_data(tmp_path: Path) -> None:
    name = "</script><script>alert(1)</script><!--"
    stem = AuditedStem(decision_of(name, "bass", name, 0), None, None)
    write_audit(tmp_path / "audit.html", audit_of([stem]))
    text = (tmp_path / "audit.html").read_text()
    assert text.count("<script") == text.count("</script") == 2
    assert "<!--" not in text
    assert name in PageParts(text).data()["labels"]


def test_a_stem_takes_less_than_3_kB(tmp_path: Path) -> None:
    stems = []
    for number in range(300):
        song = f"An Artist of Some Name - A Title of Some Length {number}"
        decision = decision_of(song, "vocals", f"{song}/vocals.wav", number, 215.3)
        audio = tmp_path / "stems" / "vocals" / f"{song}__vocals.wav"
        stems.append(shown(decision, audio))
    write_audit(tmp_path / "audit.html", audit_of(stems))
    assert (tmp_path / "audit.html").stat().st_size / 300 < 3000


def test_a_waveform_keeps_the_highest_peak_of_each_part() -> None:
    peaks = np.zeros(2400)
    peaks[[15, 2399]] = 0.1, 0.05
    levels = base64.b64decode(packed_waveform(peaks))
    assert len(levels) == COLUMNS
    assert {place: level for place, level in enumerate(levels) if level} == {1: 255, 239: 128}
    assert packed_waveform(np.zeros(10)) == packed_waveform(np.zeros(0)) == ""
    assert base64.b64decode(packed_waveform(np.array([0.5, 1.0]))) == bytes([128, 255])


def test_a_curve_keeps_its_ends_and_few_points() -> None:
    curve = Curve(
        np.linspace(0, 10, 1000), np.tile([0.0, 0.5, 1.0, 0.2], (1000, 1)), ((0.0, 10.0),)
    )
    record = curve_record(curve, 10.0)
    assert record["x"][0] == 0
    assert record["x"][-1] == 1000
    assert len(record["x"]) <= MOST_POINTS
    assert base64.b64decode(record["lines"]["drums"])[0] == 255
    single = Curve(np.array([3.0]), np.full((1, 4), 0.5), ((0.0, 1.0), (1.01, 10.0)))
    assert curve_record(single, 10.0)["heard"] == [(0.0, 10.0)]
