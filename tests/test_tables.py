"""Tables survive a spreadsheet: other separators, encodings and decimal signs, and no cell is a
formula. Names meet whatever their Unicode form."""

import codecs
import csv
import io
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from selfrefine.clips.truth import Piece, read_pieces, read_truth, under_names, write_pieces
from selfrefine.errors import InputError
from selfrefine.files.layouts import find_songs
from selfrefine.files.table import number_in, read_csv, write_csv
from tests.cli_songs import stem
from tests.conftest import RATE

COLUMNS = ("song", "given", "note")
NAMES = [
    "Él niño; été",
    'He said "no", twice',
    "Line\nbreak",
    "Tab\there",
    "東京 – 2nd, take",
    "'quoted'",
    " spaces ",
]
FORMULAS = ["=1+1", "+5", "-5 dB", "@cmd", "'=x", "''=x", "\t=x", "＝1", "=HYPERLINK(1;2)"]


def joined(content: bytes, separator: str, ending: str = "\r\n") -> str:
    """A table as a spreadsheet saves it, by another separator."""
    rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=separator, lineterminator=ending).writerows(rows)
    return out.getvalue()


def other_columns(content: bytes) -> bytes:
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    out = io.StringIO(newline="")
    csv.writer(out).writerows([*reversed(row), "mine"] for row in rows)
    return out.getvalue().encode()


SAVED: dict[str, Callable[[bytes], bytes]] = {
    "as it was": lambda content: content,
    "without a mark": lambda content: content.removeprefix(codecs.BOM_UTF8),
    "semicolons": lambda content: codecs.BOM_UTF8 + joined(content, ";").encode(),
    "tabs in UTF-16": lambda content: joined(content, "\t").encode("utf-16"),
    "tabs in UTF-16, big end first": lambda content: (
        codecs.BOM_UTF16_BE + joined(content, "\t").encode("utf-16-be")
    ),
    "line ends of Unix": lambda content: joined(content, ",", "\n").encode(),
    "empty last lines": lambda content: content + b"\r\n,,\r\n\r\n",
    "further columns in another order": other_columns,
}


@pytest.mark.parametrize("saved", SAVED.values(), ids=SAVED.keys())
def test_a_table_is_read_as_it_was_written_however_it_was_saved(
    saved: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    rows = [(name, "bass", f"{number}.5") for number, name in enumerate([*NAMES, *FORMULAS])]
    write_csv(path, COLUMNS, rows)
    path.write_bytes(saved(path.read_bytes()))
    assert [tuple(row[name] for name in COLUMNS) for row in read_csv(path, COLUMNS)] == rows


def test_no_cell_starts_a_formula_and_negative_numbers_stay_numbers(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_csv(path, COLUMNS, [(name, "-3.5", -2) for name in FORMULAS])
    cells = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))[1:]
    assert len(cells) == len(FORMULAS)
    for song, text, number in cells:
        assert song.lstrip()[0] not in "=+-@＝＋－＠"
        assert (float(text), float(number)) == (-3.5, -2)


def test_pieces_with_decimal_commas_are_the_pieces(tmp_path: Path) -> None:
    path = tmp_path / "stretches.csv"
    pieces = [Piece("Él", "bass", 0.0, 1.25, ("bass",)), Piece("Él", "bass", 1.25, 3.5, ())]
    write_pieces(path, pieces)
    path.write_text(joined(path.read_bytes(), ";").replace(".", ","), encoding="utf-8")
    assert read_pieces(path) == {("Él", "bass"): tuple(pieces)}


@pytest.mark.parametrize("cell", ["", "nan", "inf", "1.2.3", "1,000.5", "half"])
def test_what_is_no_finite_number_is_refused(cell: str) -> None:
    with pytest.raises(ValueError, match=r"not finite|could not convert"):
        number_in(cell)


def test_damaged_tables_are_refused_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    for content, words in [
        (b"song;given\r\nx;bass\r\n", "has no column 'note'"),
        (b"song,given,note\nx,bass,1\ny,bass\n", "line 3: not as many cells"),
        (b"song,given,note\nx,bass,1,2\n", "line 2: not as many cells"),
        (b"", "has no column 'song'"),
        (codecs.BOM_UTF16_LE + b"s\0o\0", "has no column 'song'"),
        (codecs.BOM_UTF16_LE + b"s\0o", "cannot be read as a table"),
    ]:
        path.write_bytes(content)
        with pytest.raises(InputError, match=words):
            read_csv(path, COLUMNS)


def test_truths_meet_songs_in_any_form_of_their_names(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    text = "song,given,true_label\nÉl niño,bass,drums\nother song,bass,bass\n"
    composed, decomposed = (unicodedata.normalize(form, "Él niño") for form in ("NFC", "NFD"))
    for content, song in [
        (unicodedata.normalize("NFD", text).encode(), composed),
        (unicodedata.normalize("NFC", text).encode(), decomposed),
        (unicodedata.normalize("NFC", text).encode("cp1252"), composed),
    ]:
        path.write_bytes(content)
        assert under_names(read_truth(path), [song]) == {(song, "bass"): ("drums",)}


def test_files_of_class_folders_are_one_song_in_any_form_of_its_name(tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, "Él") for form in ("NFC", "NFD")]
    for name, form in zip(("bass", "drums"), forms, strict=True):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / f"{form}.wav", stem(name, 0, 0.1), RATE)
    (song,) = find_songs(tmp_path, tracks=False)
    assert {file.name: file.path.stem for file in song.files} == {
        "bass": forms[0],
        "drums": forms[1],
    }
    # Where one folder has both forms, they are two songs.
    soundfile.write(tmp_path / "drums" / f"{forms[0]}.wav", stem("drums", 1, 0.1), RATE)
    songs = {song.name: len(song.files) for song in find_songs(tmp_path, tracks=False)}
    assert songs == {forms[0]: 2, forms[1]: 1}


def test_two_truths_of_a_stem_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("song,given,true_label\na,bass,bass\na,bass,bass\n")
    assert read_truth(path) == {("a", "bass"): ("bass",)}
    path.write_text("song,given,true_label\na,bass,bass\na,bass,drums\n")
    with pytest.raises(InputError, match="line 3: a second truth of bass of a"):
        read_truth(path)
