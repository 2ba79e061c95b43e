"""Small folders of stems in the usual layouts, and the command line run in this process."""

import resource
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from selfrefine.classes import CLASSES
from selfrefine.cli import main
from selfrefine.files.audio_file import openable
from tests.conftest import CLASS_TONES, RATE, tone


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


def ask(capsys: pytest.CaptureFixture[str], *words: object) -> Answer:
    """Runs `selfrefine WORDS` in this process. Where the command would print a traceback, this
    raises."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    return Answer(code, said.out, said.err)


def assert_refused(answer: Answer, *expected: str) -> None:
    """Asserts exit code 2 and one error line that contains every expected word."""
    lines = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert answer.code == 2, answer
    assert len(lines) == 1
    for word in expected:
        assert word in lines[0]


def stem(name: str, song: int, seconds: float = 4.0, rate: int = RATE) -> np.ndarray:
    """A class' tone `(sample, channel=2)`, a little different in every song, which fades slowly."""
    audio = tone(CLASS_TONES[name] * (1 + 0.03 * song), seconds, rate)
    return (audio * np.linspace(1.0, 0.5 + 0.04 * song, audio.shape[1])).T


def write_song(
    folder: Path, song: int = 0, seconds: float = 4.0, rate: int = RATE, mixture: bool = False
) -> None:
    folder.mkdir(parents=True)
    total = np.zeros((round(seconds * rate), 2))
    for name in CLASSES:
        audio = stem(name, song, seconds, rate)
        total += audio
        soundfile.write(openable(folder / f"{name}.wav"), audio, rate, subtype="PCM_16")
    if mixture:
        soundfile.write(folder / "mixture.wav", total / 2, rate, subtype="PCM_16")
        for name in CLASSES:
            halved = stem(name, song, seconds, rate) / 2
            soundfile.write(folder / f"{name}.wav", halved, rate, subtype="PCM_16")


def write_songs(root: Path, songs: int, seconds: float = 4.0) -> None:
    for song in range(songs):
        write_song(root / f"Artist {song} - Title", song, seconds)


def tree(root: Path) -> dict[str, bytes]:
    """The bytes of every file below `root`, to check that nothing changed."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def limit_file_size() -> None:
    """Acts like a full disk: no file of this process can grow beyond 50 kB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))
