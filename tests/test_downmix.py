"""Channels beyond two are folded down as they are heard, in whatever order a format has them."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from selfrefine.errors import InputError
from selfrefine.files.audio_file import read_stereo
from selfrefine.progress import ignore

RATE = 16000
HALF = 0.5**0.5
SIX = {"L": (1, 0), "R": (0, 1), "C": (HALF, HALF), "LFE": (0, 0), "Ls": (HALF, 0), "Rs": (0, HALF)}


def tones(channels: int) -> np.ndarray:
    """`(sample, channel)`: each channel has its own frequency, 200 Hz apart, at .2."""
    time = np.arange(RATE) / RATE
    return np.stack([0.2 * np.sin(2 * np.pi * 200 * (k + 1) * time) for k in range(channels)], 1)


def gains(path: Path, channels: int) -> np.ndarray:
    """What each channel gives to left and right, `(channel, 2)`, measured from its tone."""
    audio = read_stereo(path, RATE, ignore)[:, :RATE]
    spectrum = np.abs(np.fft.rfft(audio, axis=1)) / (0.1 * RATE)
    return spectrum[:, [200 * (k + 1) for k in range(channels)]].T


@pytest.mark.parametrize("form", ["WAV", "WAVEX", "FLAC", "AIFF", "CAF"])
def test_five_point_one_is_folded_down_by_its_loudspeakers(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"song.{'wav' if form == 'WAVEX' else form.lower()}"
    soundfile.write(path, tones(6), RATE, format=form, subtype="PCM_16")
    np.testing.assert_allclose(gains(path, 6), list(SIX.values()), atol=0.01)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg writes Vorbis' order of channels")
def test_the_order_of_ogg_files_is_known(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "song.wav", tones(6), RATE, format="WAVEX")
    words = ["ffmpeg", "-v", "error", "-i", "song.wav", "-c:a", "libvorbis", "-q", "8", "song.ogg"]
    if subprocess.run(words, cwd=tmp_path).returncode:
        pytest.skip("this ffmpeg writes no Vorbis")
    expected = np.array(list(SIX.values()))
    found = gains(tmp_path / "song.ogg", 6)
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_the_channel_mask_says_which_four_channels_there_are(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, tones(4), RATE, format="WAVEX")
    content = bytearray(path.read_bytes())
    content[40:44] = (0xF).to_bytes(4, "little")
    path.write_bytes(content)
    np.testing.assert_allclose(gains(path, 4), list(SIX.values())[:4], atol=0.01)
    content[40:44] = (0x3).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"song\.wav: its channel mask 0x3"):
        read_stereo(path, RATE, ignore)


def test_channels_without_a_usual_order_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "song.wav", tones(12), RATE)
    with pytest.raises(InputError, match=r"song\.wav: 12 channels have no usual order"):
        read_stereo(tmp_path / "song.wav", RATE, ignore)
