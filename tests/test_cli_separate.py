"""`selfrefine train-separator` uses edited labels, and `separate` separates files of any length."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile
import torch

from selfrefine import scales
from selfrefine.app import separate_file
from selfrefine.app.labels_table import read_labels
from selfrefine.app.separate_file import windows
from selfrefine.audio.loudness import stream_loudness
from selfrefine.classes import CLASSES
from selfrefine.files.header import read_header
from selfrefine.files.layouts import StemFile, find_songs
from selfrefine.models.model_file import load_separator, save_separator
from selfrefine.models.separator import build_separator
from selfrefine.settings import SeparatorSettings
from tests.cli_songs import ask, assert_refused, tree, write_songs
from tests.conftest import RATE, tone

SHARES = (0.4, 0.3, 0.2, 0.1)


def separator_file(folder: Path, settings: SeparatorSettings) -> Path:
    """The file of an untrained separator with these settings."""
    torch.manual_seed(0)
    torch.save({"model": build_separator(settings).state_dict()}, folder / "model.pt")
    save_separator(folder / "separator.pt", folder / "model.pt", settings)
    return folder / "separator.pt"


@pytest.fixture(scope="module")
def xumx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return separator_file(tmp_path_factory.mktemp("xumx"), scales.SMOKE.xumx)


@pytest.fixture
def shares_of_the_mixture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the network by one whose stems are fixed shares of the mixture."""

    def levelled(model: object, settings: object, mixture: torch.Tensor) -> torch.Tensor:
        return torch.stack([share * mixture for share in SHARES])

    monkeypatch.setattr(separate_file, "separate_levelled", levelled)


def write_noise(path: Path, seconds: float, rate: int, channels: int = 2) -> np.ndarray:
    """Writes noise `(sample, channel)` without high frequencies, which resampling would remove."""
    samples = round(seconds * rate)
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal((samples, channels)), axis=0)
    spectrum[min(samples, int(3000 * seconds)) :] = 0
    noise = np.fft.irfft(spectrum, samples, axis=0)
    noise *= 0.3 / np.abs(noise).max()
    soundfile.write(path, noise, rate, subtype="FLOAT")
    return noise


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("seconds", [0.3, 2.0, 6.9])
def test_windows_join_without_a_seam(
    rate: int,
    seconds: float,
    tmp_path: Path,
    xumx: Path,
    shares_of_the_mixture: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(separate_file, "WINDOW_S", 2)
    monkeypatch.setattr(separate_file, "OVERLAP_S", 1)
    noise = write_noise(tmp_path / "song.wav", seconds, rate)
    words = ("separate", tmp_path / "song.wav", "--model", xumx, "--out", tmp_path / "out")
    answer = ask(capsys, *words)
    assert answer.code == 0, answer.err
    for name, share in zip(CLASSES, SHARES, strict=True):
        stem, stem_rate = soundfile.read(tmp_path / "out" / "song" / f"{name}.wav")
        assert stem_rate == rate
        assert stem.shape == noise.shape
        # A resampler passes within half a percent of the peak, and rings at a file's very ends.
        inner = slice(rate // 50, -rate // 50) if rate != RATE else slice(None)
        np.testing.assert_allclose(
            stem[inner], share * noise[inner], atol=0.005 * np.abs(share * noise).max()
        )


@pytest.mark.parametrize(
    ("rate", "channels", "stem_channels"),
    [(8000, 1, 1), (44100, 2, 2), (192000, 2, 2), (16000, 6, 2)],
)
def test_any_rate_and_channel_count_comes_back_as_it_was(
    rate: int,
    channels: int,
    stem_channels: int,
    tmp_path: Path,
    xumx: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_noise(tmp_path / "a song.wav", 1.5, rate, channels)
    words = ("separate", tmp_path / "a song.wav", "--model", xumx, "--out", tmp_path / "out")
    assert ask(capsys, *words).code == 0
    for name in CLASSES:
        info = soundfile.info(tmp_path / "out" / "a song" / f"{name}.wav")
        assert (info.samplerate, info.channels) == (rate, stem_channels)
        assert info.frames == round(1.5 * rate)


def test_no_window_is_longer_than_a_minute(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros((200 * 8000, 1), dtype=np.int16), 8000)
    lengths = [
        window.audio.shape[1] for window in windows(path, read_header(StemFile("", (), path)))
    ]
    assert max(lengths) == 60 * 8000
    assert sum(lengths) - 5 * 8000 * (len(lengths) - 1) == 200 * 8000


@pytest.mark.parametrize("seconds", [0.45, 3.0, 7.34])
def test_loudness_of_a_stream_is_that_of_the_whole(seconds: float) -> None:
    rng = np.random.default_rng(3)
    audio = rng.standard_normal((2, round(seconds * RATE))) * np.linspace(
        0.01, 0.4, round(seconds * RATE)
    )
    whole = pyloudnorm.Meter(RATE).integrated_loudness(audio.T)
    stretches = [torch.from_numpy(audio[:, k : k + RATE]) for k in range(0, audio.shape[1], RATE)]
    assert stream_loudness(stretches, RATE) == pytest.approx(whole, abs=0.01)


def test_silence_separates_into_silence(
    tmp_path: Path, xumx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros((RATE, 2)), RATE)
    words = ("separate", tmp_path / "silence.wav", "--model", xumx, "--out", tmp_path / "out")
    assert ask(capsys, *words).code == 0
    for path in (tmp_path / "out" / "silence").glob("*.wav"):
        assert np.abs(soundfile.read(path)[0]).max() < 1e-6


def test_bad_files_are_refused_and_leave_nothing_behind(
    tmp_path: Path, xumx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = tone(300.0, 2.0).T.copy()
    noise[20000] = np.inf
    soundfile.write(tmp_path / "infinite.wav", noise, RATE, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("no audio\n" * 1000)
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 2)), RATE)
    for name, words in (
        ("infinite.wav", "not finite"),
        ("text.wav", "cannot be read as audio"),
        ("empty.wav", "holds no samples"),
        ("gone.wav", "no such file"),
    ):
        answer = ask(
            capsys, "separate", tmp_path / name, "--model", xumx, "--out", tmp_path / "out"
        )
        assert_refused(answer, name, words)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_stems_are_never_written_over(
    tmp_path: Path, xumx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "song").mkdir()
    soundfile.write(tmp_path / "song" / "vocals.wav", tone(300.0, 1.0).T, RATE)
    soundfile.write(tmp_path / "song.wav", tone(300.0, 1.0).T, RATE)
    before = tree(tmp_path)
    words = ("separate", tmp_path / "song.wav", "--model", xumx, "--out", tmp_path)
    assert_refused(ask(capsys, *words), "holds something already")
    assert tree(tmp_path) == before
    twice = (tmp_path / "song.wav", tmp_path / "song" / ".." / "song.wav")
    answer = ask(capsys, "separate", *twice, "--model", xumx, "--out", tmp_path / "out")
    assert answer.code == 1
    assert "has the same name" in answer.err


@pytest.mark.parametrize("network", ["xumx", "hdemucs"])
def test_a_trained_separator_separates(
    network: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = replace(
        scales.SMOKE,
        xumx=replace(scales.SMOKE.xumx, steps=3),
        hdemucs=replace(scales.SMOKE.hdemucs, steps=2),
    )
    monkeypatch.setitem(scales.SCALES, "small", small)
    write_songs(tmp_path / "in", 2, 2.0)
    before = tree(tmp_path / "in")
    words = ("train-separator", tmp_path / "in", "--out", tmp_path / "sep")
    answer = ask(capsys, *words, "--network", network, "--profile", "small")
    assert answer.code == 0, answer.err
    assert "trained on 8 stems of one class, 0 of several" in answer.out
    model = tmp_path / "sep" / "separator.pt"
    settings = small.xumx if network == "xumx" else small.hdemucs
    assert load_separator(model, torch.device("cpu")).settings == settings
    path = tmp_path / "in" / "Artist 0 - Title" / "bass.wav"
    for number, named in enumerate((model, model.parent)):
        out = tmp_path / f"out{number}"
        assert ask(capsys, "separate", path, "--model", named, "--out", out).code == 0
    assert ask(capsys, *words, "--network", network, "--profile", "small", "--resume").code == 0
    assert tree(tmp_path / "in") == before


def labels_csv(path: Path, refined: dict[str, str]) -> Path:
    lines = ["song,file,refined", *(f"x,{file},{label}" for file, label in refined.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_labels_edited_by_hand_are_trained_on(tmp_path: Path) -> None:
    write_songs(tmp_path / "in", 1, 1.0)
    songs = find_songs(tmp_path / "in", tracks=False)
    folder = "Artist 0 - Title"
    labels = {
        f"{folder}/vocals.wav": "vocals",
        f"{folder}/bass.wav": "Drums+bass",
        f"{folder}/drums.wav": "",
        f"{folder}/other.wav": " other ",
    }
    (song,) = read_labels(labels_csv(tmp_path / "l.csv", labels), tmp_path / "in", songs)
    assert {file.path.name: file.label for file in song.files} == {
        "vocals.wav": ("vocals",),
        "bass.wav": ("bass", "drums"),
        "other.wav": ("other",),
    }


def test_labels_edited_badly_are_refused_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_songs(tmp_path / "in", 1, 1.0)
    good = {f"Artist 0 - Title/{name}.wav": name for name in CLASSES}
    first = next(iter(good))
    path = tmp_path / "labels.csv"
    words = ("train-separator", tmp_path / "in", "--labels", path, "--out", tmp_path / "out")
    for labels, expected in (
        (good | {first: "guitar"}, "line 2: 'guitar' is no label set"),
        (good | {"../../etc/passwd": "bass"}, "line 6: no file '../../etc/passwd'"),
        ({first: "vocals"}, "no line for 'Artist 0 - Title/bass.wav' and 2 other stems"),
        (dict.fromkeys(good, ""), "every stem is dropped"),
    ):
        labels_csv(path, labels)
        assert_refused(ask(capsys, *words), "labels.csv", expected)
    labels_csv(path, good)
    path.write_text(path.read_text() + f"x,{first},bass\n")
    assert_refused(ask(capsys, *words), "line 6: a second line")
    path.write_bytes(b"\x00\x01\x02" * 1000)
    assert_refused(ask(capsys, *words), "labels.csv")
    assert not (tmp_path / "out").exists()
