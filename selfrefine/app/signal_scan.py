"""One pass over a song's files, which measures energies, peaks, clipping, and whether the stems sum
to the mixture.

Blocks of all files of a song are read side by side, 16-bit ones as integers, so that a pass takes
little longer than reading. The energies of the hops tell what silence removal keeps.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numba import njit

from selfrefine.audio.silence import sounding_hops
from selfrefine.classes import CLASSES
from selfrefine.clips.audibility import INAUDIBLE_DB, loudest_hop_db
from selfrefine.errors import InputError
from selfrefine.files.audio_file import DAMAGED_SAMPLES, LOUDEST, open_audio
from selfrefine.files.ffmpeg_audio import decoded_by_ffmpeg, is_for_ffmpeg
from selfrefine.files.header import Header
from selfrefine.files.layouts import SongFiles, StemFile
from selfrefine.files.stem_mp4 import decode_stream
from selfrefine.settings import SilenceRemoval

BLOCK_HOPS = 256
EVEN = 1.3
"""The hops' energies of a constant offset with what cannot be heard differ by less than this
factor."""
CLIPPED_RUN = 3
"""So many samples in a row at full scale count as clipped."""


@dataclass(frozen=True)
class SignalFacts:
    """Measurements of one file. `seconds` were read, of which silence removal keeps
    `kept_seconds`. `peak` is 1 at full scale, and `clipped` counts samples in runs at full scale.
    `loudest_db` is the RMS of the loudest hop without a constant offset, in dB, where that may be
    inaudible; else 0.
    `digest` is equal for equal audio. `error` says why the file cannot be used."""

    seconds: float
    kept_seconds: float = 0.0
    peak: float = 0.0
    clipped: int = 0
    loudest_db: float = 0.0
    digest: str = ""
    error: str = ""


@dataclass(frozen=True)
class SongFacts:
    """Measurements of a song, with `files` by name. `residual_db` is the energy of mixture minus
    stems over that of the mixture, in dB; None where these cannot be compared."""

    files: dict[str, SignalFacts]
    residual_db: float | None


class Scan:
    """The measurements of one file so far."""

    def __init__(self, header: Header) -> None:
        self.hop = max(1, round(SilenceRemoval().hop_seconds * header.sample_rate))
        self.header = header
        self.parts: list[np.ndarray] = []
        self.found = np.zeros(2)  # peak and clipped samples, in the block's units
        self.full_scale = 1.0
        self.read = 0

    def add(self, block: np.ndarray) -> None:
        """Measures the next block, `(sample, channel)`. Each block but the last has whole hops."""
        integer = block.dtype == np.int16
        self.full_scale = 32767.0 if integer else 1.0
        part = np.zeros(-(-len(block) // self.hop))
        scan_block(block, self.hop, self.full_scale, part, self.found)
        self.parts.append(part)
        self.read += len(block)

    def facts(self) -> SignalFacts:
        seconds = self.read / self.header.sample_rate
        if self.read < self.header.promised:
            return SignalFacts(seconds, error="ends before its header says; copy it again")
        energies = self.energies()
        if not np.isfinite(energies).all() or self.found[0] > LOUDEST * self.full_scale:
            return SignalFacts(seconds, error=DAMAGED_SAMPLES)
        kept = kept_hops(energies)
        lengths = np.full(len(kept), self.hop)
        if len(kept):
            lengths[-1] = self.read - self.hop * (len(kept) - 1)
        return SignalFacts(
            seconds,
            float(lengths[kept].sum()) / self.header.sample_rate,
            float(self.found[0]) / self.full_scale,
            int(self.found[1]),
            digest=hashlib.sha256(energies.tobytes()).hexdigest()[:16],
        )

    def energies(self) -> np.ndarray:
        """The energies of the hops so far, `(hop,)`."""
        return np.concatenate([np.zeros(0), *self.parts])

    def may_be_inaudible(self) -> bool:
        """Whether the energies alone do not tell that the file can be heard: they are small, or so
        even that they may be those of a constant offset."""
        energies = self.energies()
        if not self.found[0]:
            return False
        # The last hop can be short.
        energies = energies[kept_hops(energies)][:-1]
        if not len(energies):
            return True
        per_hop = self.hop * self.header.channels * self.full_scale**2
        is_small = energies.max() < 10 ** (INAUDIBLE_DB / 10) * per_hop
        return bool(is_small or energies.max() < EVEN * energies.min())


def kept_hops(energies: np.ndarray) -> np.ndarray:
    """The hops that silence removal keeps, bool `(hop,)`. They are those of
    `selfrefine.audio.silence.kept_samples`, from the hops' energies alone."""
    silence = SilenceRemoval()
    kept = sounding_hops(energies, silence.first_db, silence)
    kept[kept] = sounding_hops(energies[kept], silence.second_db, silence)
    return kept


def scan_song(song: SongFiles, headers: dict[str, Header]) -> SongFacts:
    """Reads and measures the files that have a header. A file that cannot be read to its end has
    its `error` set."""
    files = [file for file in song.files if file.name in headers]
    scans = {file.name: Scan(headers[file.name]) for file in files}
    streams = {file.name: blocks(file, headers[file.name]) for file in files}
    signs = residual_signs(song, headers)
    errors: dict[str, str] = {}
    left = mixed = 0.0
    while streams:
        parts: dict[str, np.ndarray] = {}
        for name in list(streams):
            try:
                parts[name] = next(streams[name])
            except StopIteration:
                del streams[name]
                continue
            except InputError as error:
                errors[name] = str(error)
                del streams[name]
                continue
            scans[name].add(parts[name])
        if signs and signs.keys() <= parts.keys():
            shortest = min(len(parts[name]) for name in signs)
            residual = np.zeros((shortest, parts[next(iter(signs))].shape[1]), dtype=np.float32)
            for name, sign in signs.items():
                add_scaled(residual, parts[name], sign / scans[name].full_scale)
                mixed += energy(parts[name][:shortest], scans[name].full_scale) if sign > 0 else 0
            left += energy(residual, 1.0)
    facts = {
        name: SignalFacts(scan.read / scan.header.sample_rate, error=errors[name])
        if name in errors
        else scan.facts()
        for name, scan in scans.items()
    }
    for file in files:
        if not facts[file.name].error and scans[file.name].may_be_inaudible():
            loudest = loudest_db(file, headers[file.name])
            kept = facts[file.name].kept_seconds if loudest >= INAUDIBLE_DB else 0.0
            facts[file.name] = replace(facts[file.name], loudest_db=loudest, kept_seconds=kept)
    known = bool(signs) and not errors and mixed > 0 and math.isfinite(left + mixed)
    return SongFacts(facts, 10 * math.log10(max(left, 1e-12) / mixed) if known else None)


def residual_signs(song: SongFiles, headers: dict[str, Header]) -> dict[str, int]:
    """+1 for the mixture and -1 for its four stems by name; empty where they cannot be compared."""
    labels = [file.label for file in song.files]
    if () not in labels or {label for label in labels if label} != {(name,) for name in CLASSES}:
        return {}
    if any(file.name not in headers for file in song.files):
        return {}
    if len({(h.sample_rate, h.channels) for h in headers.values()}) > 1:
        return {}
    return {file.name: -1 if file.label else 1 for file in song.files}


def blocks(file: StemFile, header: Header) -> Iterator[np.ndarray]:
    """Yields the audio in blocks `(sample, channel)` of BLOCK_HOPS hops; the next block may
    overwrite the last one. Raises InputError for audio that cannot be decoded."""
    size = BLOCK_HOPS * max(1, round(SilenceRemoval().hop_seconds * header.sample_rate))
    if file.stream is not None or is_for_ffmpeg(file.path):
        audio = (
            decoded_by_ffmpeg(file.path)[0]
            if file.stream is None
            else decode_stream(file.path, file.stream)[0]
        )
        audio = np.ascontiguousarray(audio.T)
        yield from (audio[start : start + size] for start in range(0, len(audio), size))
        return
    dtype = "int16" if header.subtype == "PCM_16" else "float32"
    buffer = np.empty((size, header.channels), dtype=dtype)
    with open_audio(file.path) as opened:
        while len(block := opened.read(out=buffer)):
            yield block


def loudest_db(file: StemFile, header: Header) -> float:
    """The loudest hop of a file up to the first block that can be heard, as `loudest_hop_db`
    measures it."""
    loudest = -np.inf
    for block in blocks(file, header):
        scale = 32767.0 if block.dtype == np.int16 else 1.0
        loudest = max(loudest, loudest_hop_db(block.T / scale, header.sample_rate))
        if loudest >= INAUDIBLE_DB:
            break
    return loudest


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def scan_block(
    block: np.ndarray, hop: int, full_scale: float, energies: np.ndarray, found: np.ndarray
) -> None:
    """Fills `energies` `(hop,)` from a `block` `(sample, channel)`, whose last hop may be short.
    Raises `found[0]` to the peak and adds the number of clipped samples to `found[1]`."""
    samples, channels = block.shape
    flat = block.ravel()
    for index in range(len(energies)):
        first = index * hop * channels
        last = min((index + 1) * hop, samples) * channels
        summed = 0.0
        peak = np.float32(0.0)
        # Short sums in float32 keep vector lanes full; their errors stay under 1e-5.
        for start in range(first, last, 128):
            total = np.float32(0.0)
            for k in range(start, min(start + 128, last)):
                value = np.float32(flat[k])
                total += value * value
                peak = max(peak, abs(value))
            summed += float(total)
        energies[index] = summed
        if peak > found[0]:
            found[0] = peak
        if peak >= full_scale:
            found[1] += clipped_samples(
                block, index * hop, min((index + 1) * hop, samples), full_scale
            )


@njit(cache=True, nogil=True)
def clipped_samples(block: np.ndarray, first: int, last: int, full_scale: float) -> int:
    """How many samples of a `block` `(sample, channel)` lie in runs of CLIPPED_RUN or more at full
    scale, from sample `first` to before `last`."""
    count = 0
    for channel in range(block.shape[1]):
        run = 0
        for k in range(first, last):
            if abs(np.float32(block[k, channel])) >= full_scale:
                run += 1
                if run == CLIPPED_RUN:
                    count += CLIPPED_RUN
                elif run > CLIPPED_RUN:
                    count += 1
            else:
                run = 0
    return count


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def add_scaled(total: np.ndarray, block: np.ndarray, scale: float) -> None:
    """Adds `scale` times `block` to `total`, both `(sample, channel)`; `total` may be shorter."""
    factor = np.float32(scale)
    for k in range(total.shape[0]):
        for channel in range(total.shape[1]):
            total[k, channel] += factor * np.float32(block[k, channel])


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def energy(block: np.ndarray, full_scale: float) -> float:
    """The sum of squares of a `block` `(sample, channel)`, relative to `full_scale`."""
    summed = 0.0
    for k in range(block.shape[0]):
        part = np.float32(0.0)
        for channel in range(block.shape[1]):
            value = np.float32(block[k, channel])
            part += value * value
        summed += float(part)
    return summed / (full_scale * full_scale)
