"""Files of any format get the same scores as whole arrays, in memory that does not grow."""

import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from selfrefine.app.evaluate_folders import METRICS, TrackScore, score_song, song_pairs
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError
from selfrefine.files.header import read_header
from selfrefine.files.layouts import SongFiles, StemFile, stem_files
from selfrefine.files.stem_mp4 import decode_stream
from selfrefine.files.streamed_stems import streamed_stems
from selfrefine.metrics.bss_eval import bss_eval
from selfrefine.metrics.sdr import frame_sdr

RATE = 8000


def _write(
    folder: Path, seconds: float, noise: float = 0.0, suffix: str = ".wav", rate: int = RATE
) -> None:
    """Writes four stems of noise, equal for equal lengths, plus further noise of level `noise`."""
    folder.mkdir(parents=True)
    subtype = None if suffix == ".ogg" else "PCM_16"
    for seed, name in enumerate(CLASSES):
        path = folder / f"{name}{suffix}"
        samples, added = np.random.default_rng(seed), np.random.default_rng(100 + seed)
        with soundfile.SoundFile(path, "w", rate, 2, subtype=subtype) as file:
            for start in range(0, round(seconds * rate), rate):
                shape = (min(rate, round(seconds * rate) - start), 2)
                audio = 0.1 * samples.standard_normal(shape)
                file.write(audio + noise * added.standard_normal(shape))


def _score(references: Path, estimates: Path, all_four: bool = True) -> TrackScore:
    song = SongFiles("song", tuple(stem_files(references)))
    return score_song("song", song_pairs(song, estimates), all_four, with_museval=False)


def _whole(folder: Path, suffix: str, samples: int) -> np.ndarray:
    """The stems as an array `(stem, channel, sample)`, with zeros after the end of each."""
    stems = np.zeros((len(CLASSES), 2, samples))
    for row, name in zip(stems, CLASSES, strict=True):
        audio = soundfile.read(folder / f"{name}{suffix}", stop=samples)[0]
        row[:, : len(audio)] = audio.T
    return stems


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_files_score_as_whole_arrays_do(tmp_path: Path, suffix: str) -> None:
    _write(tmp_path / "ref", 3.4)
    _write(tmp_path / "est", 3.4, 0.02, suffix)
    short = tmp_path / "est" / f"bass{suffix}"
    soundfile.write(short, soundfile.read(short)[0][: round(2.3 * RATE)], RATE)
    pair = [
        _whole(tmp_path / side, ending, round(3.4 * RATE))
        for side, ending in (("ref", ".wav"), ("est", suffix))
    ]
    expected = bss_eval(pair[0], pair[1], RATE)
    found = _score(tmp_path / "ref", tmp_path / "est").frames
    for metric in METRICS:
        np.testing.assert_allclose(found[metric], getattr(expected, metric.lower()), atol=1e-5)
    alone = _score(tmp_path / "ref", tmp_path / "est", all_four=False).frames["SDR"]
    np.testing.assert_allclose(alone, frame_sdr(pair[0], pair[1], RATE, RATE), atol=1e-6)


def test_a_song_is_read_a_frame_at_a_time(tmp_path: Path) -> None:
    _write(tmp_path / "ref", 60)
    _write(tmp_path / "est", 60, 0.02, ".flac")
    _score(tmp_path / "ref", tmp_path / "est", all_four=False)
    tracemalloc.start()
    try:
        _score(tmp_path / "ref", tmp_path / "est", all_four=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    whole_song = 2 * len(CLASSES) * 60 * RATE * 2 * 2
    assert peak < whole_song / 10


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is in other units")
def test_eight_times_the_song_takes_hardly_more_memory_for_all_four_metrics(
    tmp_path: Path,
) -> None:
    """The correlations of the 420 further frames take 220 MB, which must not stay in memory."""
    for seconds in (60, 480):
        _write(tmp_path / f"ref{seconds}", seconds, rate=1000)
        _write(tmp_path / f"est{seconds}", seconds, 0.02, rate=1000)
    script = """
import resource, sys
from pathlib import Path
from tests.test_evaluate import _score
peaks = []
for seconds in (60, 480):
    _score(Path(sys.argv[1], f"ref{seconds}"), Path(sys.argv[1], f"est{seconds}"))
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(peaks[1] - peaks[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 80_000  # KiB


def test_all_four_metrics_are_computed_on_the_device_that_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path / "ref", 1)

    def name_device(*arguments: object) -> None:
        raise InputError(f"computed on {arguments[3]}")

    monkeypatch.setattr("selfrefine.metrics.bss_eval.bss_eval", name_device)
    gpu = torch.device("cuda:3")
    monkeypatch.setattr("selfrefine.training.device.training_device", lambda: gpu)
    with pytest.raises(InputError, match="computed on cuda:3"):
        _score(tmp_path / "ref", tmp_path / "ref")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_files_score_on_a_gpu_as_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path / "ref", 3.4)
    _write(tmp_path / "est", 3.4, 0.02)
    found = {}
    for device in ("cpu", "cuda"):
        monkeypatch.setenv("SELFREFINE_DEVICE", device)
        found[device] = _score(tmp_path / "ref", tmp_path / "est").frames
    for metric in METRICS:
        np.testing.assert_allclose(found["cuda"][metric], found["cpu"][metric], atol=1e-6)


def test_a_stem_silent_throughout_is_named(tmp_path: Path) -> None:
    _write(tmp_path / "ref", 2.5)
    _write(tmp_path / "est", 2.5, 0.02)
    soundfile.write(tmp_path / "ref" / "bass.wav", np.zeros((round(2.5 * RATE), 2)), RATE)
    score = _score(tmp_path / "ref", tmp_path / "est")
    assert score.silent == ("reference bass",)
    assert np.isnan(score.frames["SDR"]).all()


def test_an_estimate_that_was_cut_short_is_refused_by_name(tmp_path: Path) -> None:
    _write(tmp_path / "ref", 3)
    _write(tmp_path / "est", 3, 0.02, ".flac")
    path = tmp_path / "est" / "drums.flac"
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(InputError, match=r"drums\.flac: (ends before|cannot be read)"):
        _score(tmp_path / "ref", tmp_path / "est", all_four=False)


def test_stretches_in_any_order_are_those_of_the_whole(tmp_path: Path) -> None:
    _write(tmp_path / "stems", 3)
    files = stem_files(tmp_path / "stems")
    whole = _whole(tmp_path / "stems", ".wav", 3 * RATE)
    with streamed_stems([(file, read_header(file)) for file in files], "int16") as stems:
        for start, stop in ((0, 500), (500, 900), (100, 20_000), (23_000, 99_000), (0, 10)):
            np.testing.assert_array_equal(
                stems[..., start:stop] / 2**15, whole[..., start:stop], f"{start} to {stop}"
            )


@pytest.mark.skipif(
    not (shutil.which("ffmpeg") and shutil.which("ffprobe")), reason="a stem file needs ffmpeg"
)
def test_stretches_of_a_stem_file_are_those_of_its_decoded_streams(tmp_path: Path) -> None:
    _write(tmp_path / "stems", 2)
    path = tmp_path / "song.stem.mp4"
    words = ["ffmpeg", "-v", "error"]
    for name in (CLASSES[0], *CLASSES):
        words += ["-i", str(tmp_path / "stems" / f"{name}.wav")]
    for stream in range(5):
        words += ["-map", str(stream)]
    subprocess.run([*words, "-c:a", "aac", str(path)], check=True)
    files = [StemFile(name, (name,), path, stream) for stream, name in enumerate(CLASSES, 1)]
    with streamed_stems([(file, read_header(file)) for file in files], "float32") as stems:
        whole = np.stack([decode_stream(path, stream)[0] for stream in range(1, 5)])
        length = min(whole.shape[2], stems.shape[2])
        assert length == pytest.approx(2 * RATE, abs=2048)
        for start, stop in ((0, 5000), (5000, length), (777, 9000)):
            np.testing.assert_array_equal(stems[..., start:stop], whole[..., start:stop])
