"""Hostile command lines: every path and every number of every command is replaced in turn by what
cannot be used."""

import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from tests.cli_songs import write_songs
from tests.conftest import RATE
from tests.faults.trial import tried

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Input:
    """A path that a command reads. `also` names hostile paths that are none for this one."""

    path: Path
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Output:
    """A path that a command writes. It gets a new folder for each command line."""

    name: str


@dataclass(frozen=True)
class Number:
    """A number from `least` to `most`."""

    word: str
    least: float
    most: float = float("inf")


Word = str | Input | Output | Number
Line = tuple[str, tuple[Word, ...]]
"""A module with a `main`, and the words of a command line that it takes."""


@dataclass(frozen=True)
class HostileLine:
    """`name` says what is hostile. `refused` says whether it must be refused, `named` what the
    message must hold."""

    name: str
    module: str
    words: tuple[str, ...]
    refused: bool
    named: tuple[str, ...] = ()

    def fault(self) -> str | None:
        return tried(self.module, self.words).fault(self.refused, self.named)


def made_ground(folder: Path) -> Path:
    """Makes songs, models, tables and results that every command takes. Returns `folder`."""
    songs = folder / "songs"
    write_songs(songs, 3)
    # Equal signals have no SDR.
    for path in songs.glob("*/*.wav"):
        estimate = folder / "estimates" / path.relative_to(songs)
        estimate.parent.mkdir(parents=True, exist_ok=True)
        audio, rate = soundfile.read(path)
        soundfile.write(estimate, audio / 2, rate)
    soundfile.write(folder / "mixture.wav", np.zeros((RATE, 2)) + 0.1, RATE)
    smoke = ["--profile", "smoke"]
    lines: list[list[object]] = [
        ["corrupt", songs, "--out", folder / "noisy"],
        ["refine", songs, "--out", folder / "refined", "--start", "none", *smoke],
        ["train-separator", songs, "--out", folder / "trained", *smoke],
    ]
    for words in lines:
        made = tried("selfrefine.cli", words)
        assert made.code == 0, made
    return folder


def good_lines(ground: Path) -> list[Line]:
    """Command lines that are accepted: each option of each command at least once."""
    songs, noisy = Input(ground / "songs"), Input(ground / "noisy")
    estimates = Input(ground / "estimates")
    refined = ground / "refined"
    labels = Input(refined / "labels.csv")
    classifier = Input(refined / "classifier.pt", also=("classifier.pt",))
    separator = Input(ground / "trained" / "separator.pt", also=("separator.pt",))
    mixture = Input(ground / "mixture.wav", also=("song.wav",))
    truth = Input(ground / "noisy" / "truth.csv")
    new = Output("new")
    chance, seed, count = Number("0.5", 0, 1), Number("1", 0), Number("1", 1)
    exported = Input(ROOT / "results" / "band-mini")
    smoke = ("--profile", "smoke")
    relabelled = ("train-separator", songs, "--out", new, "--labels", labels, *smoke)
    commands: list[tuple[Word, ...]] = [
        ("check-data", songs),
        ("check-data", songs, "--json"),
        ("refine", noisy, "--out", new, "--truth", truth, *smoke),
        ("refine", songs, "--out", new, "--classifier", classifier, *smoke),
        ("refine", songs, "--out", new, "--start", classifier, "--sure", chance, *smoke),
        ("refine", songs, "--out", new, "--start", "none", "--threshold", chance, *smoke),
        ("refine", songs, "--out", new, "--start", "none", "--iterations", count, *smoke),
        ("refine", songs, "--out", new, "--seed", seed, "--by-segment", "--copy", *smoke),
        ("apply", labels),
        ("apply", labels, "--out", Input(refined), "--source", songs),
        ("train-separator", songs, "--out", new, "--seed", seed, *smoke),
        relabelled,
        (*relabelled, "--least-confidence", Number("0.01", 0, 1), "--kept-losses", chance),
        ("separate", mixture, "--model", separator, "--out", new),
        ("evaluate", songs, estimates),
        ("evaluate", songs, estimates, "--out", new),
        ("corrupt", songs, "--out", new, "--rate", chance, "--swap-rate", chance),
        ("corrupt", songs, "--out", new, "--bleed-rate", chance, "--stretch-rate", chance),
        ("corrupt", songs, "--out", new, "--seed", seed),
        ("synthesize", new, "--songs", Number("1", 1), "--seconds", Number("4", 1)),
        ("synthesize", new, "--songs", "1", "--sample-rate", Number("16000", 8000, 1e6)),
        ("synthesize", new, "--songs", "1", "--seconds", "4", "--first", Number("0", 0)),
    ]
    lines: list[Line] = [("selfrefine.cli", words) for words in commands]
    row = ("table5/refined-0", *smoke)
    lines += [
        ("experiments.__main__", ("plan", *row, "--store", new, "--seeds", count)),
        ("experiments.__main__", ("show", *row, "--store", new)),
        ("reports.__main__", ("table5", *smoke, "--store", new)),
        ("reports.__main__", ("table5", "--results", exported, "--output", new)),
        ("reports.__main__", ("export", "--results", exported, "--to", new)),
        ("reports.__main__", ("export", "--results", exported, "--join", exported, "--to", new)),
        ("sweeps.__main__", ("show", "threshold", *smoke, "--store", new)),
        ("sweeps.__main__", ("freeze", "threshold", *smoke, "--store", new)),
    ]
    return lines


def hostile_lines(ground: Path, scratch: Path) -> Iterator[HostileLine]:
    """Each good line with one of its words replaced. What they write goes below `scratch`."""
    unusable, unwritable = unusable_inputs(ground, scratch), unusable_outputs(ground, scratch)
    number = 0
    for module, words in good_lines(ground):
        for place, word in enumerate(words):
            for name, replacement, refused in replacements(word, unusable, unwritable):
                number += 1
                others = [made_word(each, scratch / str(number)) for each in words]
                others[place] = replacement
                at = " ".join(each for each in words if isinstance(each, str))
                at = f"{module} {at}, word {place}: {name}"
                named = (named_part(replacement),) if refused and "/" in replacement else ()
                yield HostileLine(at, module, tuple(others), refused, named)


def named_part(path: str) -> str:
    """What a message about a path must hold: its last part, or the beginning of that."""
    return Path(path).name.partition("\n")[0][:40]


def made_word(word: Word, folder: Path) -> str:
    match word:
        case Input():
            return str(word.path)
        case Output():
            folder.mkdir(parents=True, exist_ok=True)
            return str(folder / word.name)
        case Number():
            return word.word
    return word


def replacements(
    word: Word, unusable: dict[str, Path], unwritable: dict[str, Path]
) -> Iterator[tuple[str, str, bool]]:
    """Names, words, and whether they must be refused."""
    match word:
        case Input():
            for name, path in unusable.items():
                if name not in word.also and path != word.path:
                    yield name, str(path), True
        case Output():
            for name, path in unwritable.items():
                yield name, str(path), True
        case Number():
            for value in ("nan", "inf", "-inf", "word", "", "1e400", "0x", "٣٫٥x"):
                yield repr(value), value, True
            for number in (word.least - 1, word.most + 1):
                if np.isfinite(number):
                    yield f"{number:g}", f"{number:g}", True
            yield "10**30", str(10**30), word.most < 10**30


def unusable_inputs(ground: Path, scratch: Path) -> dict[str, Path]:
    """Paths from which no command can read what it needs."""
    folder = scratch / "inputs"
    folder.mkdir(parents=True)
    shutil.copyfile(ground / "refined" / "classifier.pt", folder / "classifier.pt")
    shutil.copyfile(ground / "trained" / "separator.pt", folder / "separator.pt")
    shutil.copyfile(ground / "mixture.wav", folder / "song.wav")
    (folder / "empty.wav").touch()
    (folder / "text.csv").write_text("no table\n\nof ours")
    (folder / "table.csv").write_text("a,b\n1,2\n")
    (folder / "zeros.csv").write_bytes(bytes(100))
    (folder / "noise.pt").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "cut.pt").write_bytes((folder / "separator.pt").read_bytes()[:-3000])
    (folder / "list.json").write_text("[1, 2]")
    (folder / "folder").mkdir()
    (folder / "folders" / "within").mkdir(parents=True)
    (folder / "dangling.wav").symlink_to("nowhere.wav")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(folder)  # a socket's path may have 107 bytes
        try:
            made.bind("socket")
        finally:
            os.chdir(here)
    paths = {path.name: path for path in sorted(folder.iterdir())}
    more = {
        "missing": folder / "missing",
        "below a file": folder / "song.wav" / "below",
        "a long name": folder / ("n" * 300),
        "/dev/null": Path("/dev/null"),
        "a line break": folder / "a\nname",
    }
    return paths | more


def unusable_outputs(ground: Path, scratch: Path) -> dict[str, Path]:
    """Paths that no command can write to, or must not."""
    folder = scratch / "outputs"
    folder.mkdir(parents=True)
    (folder / "file.txt").write_text("mine")
    (folder / "loop").symlink_to("loop")
    return {
        "a file": folder / "file.txt",
        "below a file": folder / "file.txt" / "below",
        "a loop of links": folder / "loop" / "below",
        "a long name": folder / ("n" * 300),
        "/dev/null": Path("/dev/null"),
    }
