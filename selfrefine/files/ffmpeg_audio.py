"""Audio that libsndfile does not read (m4a, aac, wma ...), and streams of .stem.mp4, decoded by
ffmpeg in a process that writes to a pipe."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from selfrefine.errors import InputError
from selfrefine.files.completeness import refuse_absent
from selfrefine.files.splice import cut_words, truncated

FFMPEG_SUFFIXES = (
    *(".m4a", ".aac", ".mp4", ".m4b", ".wma", ".ape", ".wv", ".mka", ".webm", ".weba"),
    *(".ac3", ".eac3", ".dts", ".tta", ".mpc", ".amr", ".ra", ".dsf", ".dff", ".shn", ".tak"),
)
MISSING_S = 0.5
"""A file counts as cut where so much of its stated length is missing, in s. The first packets of
most codecs hold no audio, so that lengths differ a little."""
COUNTED_BYTES = 1 << 20
BARE = ("aac", "ac3", "eac3", "dts", "amr", "amrnb", "amrwb", "mp3", "shn")
"""ffmpeg's formats that state no length. It estimates one from their bit rate."""


@dataclass(frozen=True)
class FfmpegFacts:
    """What ffmpeg finds in the first audio stream of a file: `sample_rate` in Hz, and `samples` per
    channel, counted by decoding."""

    sample_rate: int
    channels: int
    samples: int
    codec: str


class StreamDecoder:
    """Decodes an audio stream of a file as float32. It decodes little more than is read."""

    def __init__(self, path: Path, stream: int) -> None:
        self.path = path
        self.stream = stream
        self.process = self.start(0)

    def start(self, sample: int) -> subprocess.Popen[bytes]:
        words = ["ffmpeg", "-nostdin", "-v", "quiet", "-i", named(self.path)]
        words += ["-map", f"0:a:{self.stream}", "-af", f"atrim=start_sample={sample}"]
        return subprocess.Popen([*words, "-f", "f32le", "-"], stdout=subprocess.PIPE)

    def seek(self, frames: int) -> None:
        self.close()
        self.process = self.start(frames)

    def read(self, *, out: np.ndarray) -> np.ndarray:
        """Fills `out` `(sample, channel)`. Returns the part that was filled."""
        assert self.process.stdout is not None
        flat = out.reshape(-1).view(np.uint8)
        found = self.process.stdout.readinto(flat.data)  # type: ignore[attr-defined]
        if found < len(flat) and self.process.wait() != 0:
            raise OSError("ffmpeg fails to decode it")
        return out[: found // out[0].nbytes] if len(out) else out

    def close(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()


def is_for_ffmpeg(path: Path) -> bool:
    """Whether ffmpeg decodes a file, by its ending."""
    return path.suffix.lower() in FFMPEG_SUFFIXES


def ffmpeg_facts(path: Path) -> FfmpegFacts:
    """The facts of a file; it is decoded once while it does not change. Raises InputError for a
    file that cannot be decoded or is cut, and where ffmpeg is missing."""
    refuse_absent(path)
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        raise InputError(
            f"{path}: needs ffmpeg and ffprobe on the PATH; install them, or convert it to WAV"
        )
    found = path.stat()
    return counted_facts(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=4096)
def counted_facts(path: Path, size: int, changed: int) -> FfmpegFacts:
    words = ["ffprobe", "-v", "error", "-select_streams", "a:0", "-of", "json", "-show_entries"]
    entries = (
        "stream=sample_rate,channels,codec_name,duration:format=format_name,nb_streams,duration"
    )
    probed = subprocess.run([*words, entries, named(path)], capture_output=True)
    try:
        facts = json.loads(probed.stdout)
        stream = facts["streams"][0]
        rate, channels = int(stream["sample_rate"]), int(stream["channels"])
        decoder = StreamDecoder(path, 0)
        try:
            samples = counted_samples(decoder, channels)
        finally:
            decoder.close()
        if not samples:
            raise OSError("no samples")
    except (ValueError, LookupError, OSError) as error:
        words = probed.stderr.decode(errors="replace").strip().splitlines() or [str(error)]
        raise InputError(
            f"{path}: cannot be decoded by ffmpeg ({words[-1]}); replace it or take it out of the "
            "folder"
        ) from error
    stated = stated_seconds(stream, facts["format"])
    if samples / rate < stated - MISSING_S:
        raise truncated(path, cut_words(f"{samples / rate:.2f} s", f"{stated:.2f} s"))
    return FfmpegFacts(rate, channels, samples, stream.get("codec_name", "").upper())


def stated_seconds(stream: dict[str, Any], container: dict[str, Any]) -> float:
    """The length in s by a file's header, 0 where that states none."""
    if container["format_name"] in BARE:
        return 0.0
    lengths = [stream.get("duration")]
    if container["nb_streams"] == 1:
        lengths.append(container.get("duration"))
    return float(next((length for length in lengths if length), 0.0))


def counted_samples(decoder: StreamDecoder, channels: int) -> int:
    block = np.empty((COUNTED_BYTES // (4 * channels), channels), dtype=np.float32)
    samples = 0
    while found := len(decoder.read(out=block)):
        samples += found
    return samples


def decoded_by_ffmpeg(path: Path) -> tuple[np.ndarray, int]:
    """A file's audio as float32 `(channel, sample)`, and its sample rate in Hz. Raises what
    `ffmpeg_facts` raises."""
    facts = ffmpeg_facts(path)
    audio = np.empty((facts.samples, facts.channels), dtype=np.float32)
    decoder = StreamDecoder(path, 0)
    try:
        decoder.read(out=audio)
    finally:
        decoder.close()
    return audio.T, facts.sample_rate


def named(path: Path) -> str:
    """A path as ffmpeg takes it: a name with a colon, or one that begins with a hyphen, is no
    protocol and no option."""
    return f"file:{path}"
