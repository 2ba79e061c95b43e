"""Files whose headers are wrong: what was cut is refused, what is there is read, and whole files of
every format are accepted."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from selfrefine.errors import InputError
from selfrefine.files.audio_file import decode
from selfrefine.files.header import read_header
from selfrefine.files.layouts import StemFile
from selfrefine.files.streamed_stems import streamed_stems
from tests.conftest import tone

RATE = 48000
FORMATS = {
    "a.wav": {"format": "WAV", "subtype": "PCM_16"},
    "b.wav": {"format": "WAVEX", "subtype": "PCM_24"},
    "c.wav": {"format": "RF64", "subtype": "FLOAT"},
    "a.w64": {"format": "W64", "subtype": "PCM_16"},
    "a.aiff": {"format": "AIFF", "subtype": "PCM_16"},
    "a.caf": {"format": "CAF", "subtype": "PCM_16"},
    "a.au": {"format": "AU", "subtype": "PCM_16"},
    "a.flac": {"format": "FLAC", "subtype": "PCM_16"},
    "a.ogg": {"format": "OGG", "subtype": "VORBIS"},
    "a.opus": {"format": "OGG", "subtype": "OPUS"},
    "a.mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III"},
}
SAMPLES = 2 * RATE + 1
"""An odd number, so that some formats pad."""


def written(folder: Path, name: str) -> Path:
    path = folder / name
    noise = np.random.default_rng(0).normal(0, 0.02, (SAMPLES, 2))
    soundfile.write(path, tone(300.0, 3.0, RATE).T[:SAMPLES] + noise, RATE, **FORMATS[name])
    return path


def samples_of(path: Path) -> tuple[int, list[str]]:
    """The samples by the header, which must be those that decoding gives, and what was noted."""
    said: list[str] = []
    header = read_header(StemFile("", (), path), said.append)
    assert decode(path)[0].shape == (header.channels, header.samples)
    return header.samples, said


@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_file_is_accepted_and_a_cut_one_refused(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, name)
    whole = path.read_bytes()
    assert samples_of(path) == (SAMPLES, [])
    for size in (len(whole) // 2, len(whole) * 9 // 10, len(whole) - 20):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=rf"{name}: (truncated|cannot be read|ends before)"):
            decode(path)


@pytest.mark.parametrize("name", FORMATS)
def test_a_tag_before_the_audio_does_not_matter(name: str, tmp_path: Path) -> None:
    if name.endswith(("mp3", "flac")):
        path = written(tmp_path, name)
        path.write_bytes(b"ID3\x03\0\0\0\0\x08\0" + bytes(1024) + path.read_bytes())
        assert samples_of(path) == (SAMPLES, [])


@pytest.mark.parametrize(
    "tail",
    [
        b"LIST\x10\0\0\0INFOISFT\x04\0\0\0abc\0",
        b"TAG" + bytes(125),
        b"APETAGEX" + bytes(24),
        bytes(4096),
        b"xyz",
    ],
)
@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "c.wav"])
def test_what_follows_the_audio_is_not_taken_for_audio(
    name: str, tail: bytes, tmp_path: Path
) -> None:
    path = written(tmp_path, name)
    path.write_bytes(path.read_bytes() + tail)
    assert samples_of(path) == (SAMPLES, [])


def resized(path: Path, riff: int, data: int) -> None:
    """Overwrites the sizes of a plain WAV file."""
    content = bytearray(path.read_bytes())
    assert content[36:40] == b"data"
    content[4:8], content[40:44] = struct.pack("<I", riff), struct.pack("<I", data)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("riff", "data"),
    [
        (0x7FFFF024, 0x7FFFF000),
        (0x80000024, 0x80000000),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFDA),
        (0, 0),
    ],
)
def test_sizes_that_are_written_to_pipes_are_read_to_the_end(
    riff: int, data: int, tmp_path: Path
) -> None:
    path = written(tmp_path, "a.wav")
    expected, _ = decode(path)
    resized(path, riff, data)
    assert samples_of(path)[0] == SAMPLES
    assert (decode(path)[0] == expected).all()


def test_a_header_that_states_less_gives_way_and_both_lengths_are_said(tmp_path: Path) -> None:
    path = written(tmp_path, "a.wav")
    expected, _ = decode(path)
    resized(path, 36 + RATE * 4, RATE * 4)
    samples, said = samples_of(path)
    assert samples == SAMPLES
    assert (decode(path)[0] == expected).all()
    assert len(said) == 1
    assert "1.00 s" in said[0]
    assert "2.00 s" in said[0]


def test_a_wav_file_past_four_gib_is_as_long_as_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, "a.wav")
    size = SAMPLES * 4 + 2**32
    os.truncate(path, 44 + size)
    assert read_header(StemFile("", (), path)).samples == size // 4


def mp3_frames(content: bytes) -> list[bytes]:
    """The frames of an MPEG-1 layer III file of 48 kHz."""
    rates = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
    place, frames = 0, []
    while place < len(content):
        length = 144000 * rates[content[place + 2] >> 4] // RATE + (content[place + 2] >> 1 & 1)
        frames.append(content[place : place + length])
        place += length
    return frames


def variable_mp3(path: Path) -> list[bytes]:
    """Writes two loud seconds and two quiet ones at a variable bit rate. Returns the frames, of
    which the first states their number."""
    audio = np.random.default_rng(0).normal(0, 0.1, (4 * RATE, 2))
    audio[2 * RATE :] *= 1e-4
    soundfile.write(path, audio, RATE, bitrate_mode="VARIABLE", compression_level=0.5)
    frames = mp3_frames(path.read_bytes())
    assert b"Xing" in frames[0]
    return frames


@pytest.mark.parametrize("kind", ["no length", "quiet first", "padded", "joined", "garbage within"])
def test_every_frame_of_an_mp3_is_read_whatever_its_header_says(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    first, *frames = variable_mp3(path)
    half, count = len(frames) // 2, len(frames)
    match kind:
        case "no length":
            content = b"".join(frames)
        case "quiet first":
            content = b"".join(frames[half:] + frames[:half])
        case "padded":
            content = b"".join(frames) + bytes(60000)
        case "joined":
            content, count = b"".join([first, *frames, *frames]), 2 * count
        case "garbage within":
            content = b"".join(frames[:half]) + bytes(5000) + b"".join(frames[half:])
    path.write_bytes(content)
    samples, said = samples_of(path)
    # A decoder's delay may be cut from a stream.
    assert count * 1152 - 1152 <= samples <= count * 1152
    assert len(said) == 1


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is the reference")
def test_an_mp3_without_a_length_sounds_as_ffmpeg_decodes_it(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(b"".join(variable_mp3(path)[1:]))
    words = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "f32le", "-"]
    raw = subprocess.run(words, capture_output=True, check=True).stdout
    reference = np.frombuffer(raw, np.float32).reshape(-1, 2).T
    ours, _ = decode(path)
    lag = abs(reference.shape[1] - ours.shape[1])
    assert lag <= 1152
    shifts = [s for s in (0, 529, 1105, lag) if s + ours.shape[1] <= reference.shape[1] + 1105]
    errors = []
    for shift in shifts:
        length = min(reference.shape[1] - shift, ours.shape[1])
        errors.append(np.abs(reference[:, shift : shift + length] - ours[:, :length]).max())
    assert min(errors) < 1e-3


def test_an_mp3_that_ends_within_a_frame_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(b"".join(variable_mp3(path)[1:])[:-50])
    with pytest.raises(InputError, match="its last frame is cut"):
        decode(path)


@pytest.mark.parametrize("rate", [1, 999999937])
def test_an_impossible_sample_rate_is_refused(rate: int, tmp_path: Path) -> None:
    path = written(tmp_path, "a.wav")
    content = bytearray(path.read_bytes())
    content[24:28] = struct.pack("<I", rate)
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"states {rate} Hz"):
        decode(path)


def test_a_flac_header_that_states_more_than_its_bytes_can_hold_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a.flac")
    content = bytearray(path.read_bytes())
    stated = int.from_bytes(content[18:26], "big") >> 36 << 36 | 2**36 - 1
    content[18:26] = stated.to_bytes(8, "big")
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot hold the 68719476735 samples"):
        read_header(StemFile("", (), path))


def test_a_pipe_named_as_audio_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "bass.wav")
    with pytest.raises(InputError, match="not a regular file"):
        decode(tmp_path / "bass.wav")


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
@pytest.mark.parametrize("suffix", ["m4a", "aac"])
def test_what_libsndfile_cannot_read_is_decoded_by_ffmpeg(suffix: str, tmp_path: Path) -> None:
    source, path = written(tmp_path, "a.wav"), tmp_path / f"a.{suffix}"
    words = ["ffmpeg", "-v", "error", "-i", str(source), "-b:a", "256k", str(path)]
    subprocess.run(words, check=True)
    samples, said = samples_of(path)
    # The encoder's delay and padding may be heard as silence.
    assert SAMPLES <= samples <= SAMPLES + 4096
    assert said == []
    spectra = [np.abs(np.fft.rfft(decode(each)[0][0], RATE)) for each in (source, path)]
    assert spectra[0].argmax() == spectra[1].argmax() == 300
    assert spectra[1].max() == pytest.approx(spectra[0].max(), rel=0.05)


@pytest.mark.parametrize("suffix", ["m4a", "aac", "wma"])
def test_without_ffmpeg_what_needs_it_is_named(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(bytes(1000))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=rf"a\.{suffix}: needs ffmpeg"):
        decode(path)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
@pytest.mark.parametrize("suffix", ["tta", "wv", "mka"])
def test_a_half_file_of_a_format_of_ffmpeg_is_refused(suffix: str, tmp_path: Path) -> None:
    source, path = written(tmp_path, "a.wav"), tmp_path / f"a.{suffix}"
    words = ["ffmpeg", "-v", "error", "-i", str(source), str(path)]
    if subprocess.run(words).returncode:
        pytest.skip(f"this ffmpeg writes no {suffix}")
    assert samples_of(path)[0] == pytest.approx(SAMPLES, abs=4096)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=rf"a\.{suffix}: (truncated|cannot be decoded)"):
        decode(path)


def test_joined_ogg_streams_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a.ogg")
    other = tmp_path / "b.ogg"
    shutil.copy(path, other)
    path = written(tmp_path, "a.ogg")
    path.write_bytes(other.read_bytes() + path.read_bytes())
    with pytest.raises(InputError, match="several Ogg streams"):
        decode(path)


def test_zeros_after_a_flac_are_no_damage_however_it_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, "a.flac")
    path.write_bytes(path.read_bytes() + bytes(2000))
    whole, _ = decode(path)
    stem = StemFile("", (), path)
    with streamed_stems([(stem, read_header(stem))], "float32") as streamed:
        found = streamed[..., : 2 * SAMPLES]
    np.testing.assert_array_equal(found[0], whole)


@pytest.mark.parametrize("peak", [1e19, np.inf, np.nan])
def test_samples_far_beyond_full_scale_are_refused(peak: float, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    audio = tone(300.0, 1.0).T.copy()
    audio[100, 1] = peak
    soundfile.write(path, audio, RATE, subtype="FLOAT")
    with pytest.raises(InputError, match="not finite, or far beyond full scale"):
        decode(path)
    soundfile.write(path, tone(300.0, 1.0).T * 2.0**31, RATE, subtype="FLOAT")
    assert np.abs(decode(path)[0]).max() == pytest.approx(2.0**29, rel=1e-3)
