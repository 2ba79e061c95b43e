"""Audio sets on disk: what they keep of quiet signals, and damage that is found."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfrefine.clips.audio_set import (
    AudioSetWriter,
    open_audio_set,
    refuse_changed_samples,
)
from selfrefine.errors import InputError
from tests.conftest import RATE, tone


def stored(folder: Path, audio: np.ndarray) -> tuple[np.ndarray, float]:
    """The audio as a set gives it back, and its scale."""
    with AudioSetWriter(folder, RATE) as writer:
        writer.add("song", "bass", ("bass",), audio)
    found = open_audio_set(folder)
    return found.audio(found.clips[0]), found.clips[0].scale


def snr(signal: np.ndarray, found: np.ndarray) -> float:
    """In dB."""
    error = found.astype(np.float64) - signal
    return 10 * float(np.log10((signal.astype(np.float64) ** 2).sum() / (error**2).sum()))


@pytest.mark.parametrize("peak_db", [-61.0, -70.0, -90.0, -110.0])
def test_a_quiet_sine_keeps_the_snr_of_16_bits_at_full_scale(
    tmp_path: Path, peak_db: float
) -> None:
    """Rounding a sine of full scale to steps of 1/32767 leaves 6.02 dB a bit and 1.76 dB."""
    sine = tone(441.0, 1.0) / 0.25 * np.float32(10 ** (peak_db / 20))
    found, scale = stored(tmp_path, sine)
    assert scale == pytest.approx(10 ** (peak_db / 20), rel=1e-3)
    assert snr(sine, found) == pytest.approx(6.02 * 16 + 1.76, abs=0.5)


@pytest.mark.parametrize("peak", [1.0, 0.1, 0.00101])
def test_a_signal_of_usual_level_is_stored_as_it_always_was(tmp_path: Path, peak: float) -> None:
    sine = tone(441.0, 0.1) / np.float32(0.25) * np.float32(peak)
    _, scale = stored(tmp_path, sine)
    assert scale == 1.0
    kept = np.fromfile(tmp_path / "audio.i16", dtype="<i2").reshape(-1, 2).T
    np.testing.assert_array_equal(kept, np.rint(sine * 32767))


def test_silence_and_what_is_next_to_it_stay_finite(tmp_path: Path) -> None:
    for number, peak in enumerate((0.0, 1e-30, 1e-45)):
        audio = np.full((2, 100), peak, dtype=np.float32)
        found, _ = stored(tmp_path / str(number), audio)
        np.testing.assert_allclose(found, audio, atol=1e-10)


@pytest.fixture
def two_clips(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    with AudioSetWriter(folder, RATE) as writer:
        for name in ("bass", "drums"):
            writer.add("song", name, (name,), tone(200.0, 0.5))
    return folder


def test_whole_samples_are_not_refused_also_with_a_hole_behind_them(tmp_path: Path) -> None:
    with AudioSetWriter(tmp_path, RATE) as writer:
        writer.add("song", "bass", ("bass",), tone(200.0, 0.5))
        writer.grow_to(10**6)
    samples = tmp_path / "audio.i16"
    assert samples.stat().st_size == 4 * 10**6
    refuse_changed_samples(tmp_path)
    with samples.open("r+b") as file:
        file.write(b"\xff")
    with pytest.raises(InputError, match="damaged"):
        refuse_changed_samples(tmp_path)


def test_zeroed_samples_are_found_and_an_index_of_before_is_accepted(two_clips: Path) -> None:
    refuse_changed_samples(two_clips)
    path = two_clips / "audio.i16"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(InputError, match=r"audio\.i16: damaged .* delete \S+/set and run again"):
        refuse_changed_samples(two_clips)
    index = json.loads((two_clips / "index.json").read_text())
    del index["crc32"]
    (two_clips / "index.json").write_text(json.dumps(index))
    refuse_changed_samples(two_clips)


def with_clip(index: dict[str, Any], **values: Any) -> dict[str, Any]:
    first, second = index["clips"]
    return index | {"clips": [first, second | values]}


@pytest.mark.parametrize(
    "change",
    [
        lambda index: [index],
        lambda index: 3,
        lambda index: index | {"format": [1]},
        lambda index: {name: value for name, value in index.items() if name != "clips"},
        lambda index: index | {"clips": 3},
        lambda index: index | {"clips": [3]},
        lambda index: index | {"clips": [{}]},
        lambda index: index | {"sample_rate": 0},
        lambda index: index | {"sample_rate": "16000"},
        lambda index: index | {"samples": -1},
        lambda index: index | {"samples": None},
        lambda index: index | {"samples": 10**30},
        lambda index: with_clip(index, start=0),
        lambda index: with_clip(index, start="8000"),
        lambda index: with_clip(index, length=-5),
        lambda index: with_clip(index, length=10**9),
        lambda index: with_clip(index, length=7999.5),
        lambda index: with_clip(index, scale=float("nan")),
        lambda index: with_clip(index, scale="1"),
        lambda index: with_clip(index, label=["basz"]),
        lambda index: with_clip(index, label=None),
        lambda index: with_clip(index, label=[["bass"]]),
        lambda index: with_clip(index, name=3),
        lambda index: with_clip(index, more=3),
    ],
)
def test_an_index_that_no_writer_wrote_is_refused_in_one_line(
    change: Callable[[dict[str, Any]], Any], two_clips: Path
) -> None:
    path = two_clips / "index.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(InputError, match=r"delete \S+/set and run again") as caught:
        open_audio_set(two_clips)
    assert "\n" not in str(caught.value)
    assert str(two_clips) in str(caught.value)


def test_what_is_in_the_way_of_a_set_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "set" / "audio.i16").mkdir(parents=True)
    for folder in (tmp_path / "file", tmp_path / "set"):
        with pytest.raises(InputError, match=f"{folder}: .*cannot be written"):
            AudioSetWriter(folder, RATE)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_ends_a_set_in_one_line_without_an_index(tmp_path: Path) -> None:
    os.symlink("/dev/full", tmp_path / "audio.i16")
    with (
        pytest.raises(InputError, match="No space left"),
        AudioSetWriter(tmp_path, RATE) as writer,
    ):
        writer.add("song", "bass", ("bass",), tone(200.0, 0.5))
    assert not (tmp_path / "index.json").exists()
