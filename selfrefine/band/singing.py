"""Turns spoken lines into singing: gives them the melody's pitch, and stretches vowels to notes.

WORLD (Morise, Yokomori, Ozawa, IEICE 2016) analyses the speech. `_alignment` maps the song's time
to its frames, and the vocoder synthesises the singing. The analysis depends only on the voice and
the line, so it is cached by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from selfrefine.band.parts_vocals import SungLine
from selfrefine.band.score import ScoreNote
from selfrefine.band.vocoder import vocode, vocoder_bins
from selfrefine.band.voice import SPEECH_RATE, SPOKEN_HZ, Phoneme, Voice, speak

FRAME_S = 0.01
ANALYSIS_FFT = 512
APERIODICITY_STRIDE = 2  # only every second frame, since this step is the slowest and varies little
BLUR_HZ = (3200.0, 4800.0)
BLUR_WIDTH_HZ = 2200.0
SPEECH_TOP_HZ = 10000.0  # espeak's spectra end here; the envelope is extended above
FALL_DB = 9.0  # fall of the envelope per octave above SPEECH_TOP_HZ
TILT_FROM_HZ = 400.0
LOOSENESS_S = 0.008
LONGEST_CLUSTER = 0.45  # share of a note that the consonants before the next one may take


@dataclass(frozen=True)
class Delivery:
    """How a singer sings.

    Pitches are in cents and times in s. `formants` is a factor on the formants' frequencies,
    `breath` (0-1) is how breathy the voice is, and `tilt_db` is in dB per octave above
    TILT_FROM_HZ.
    """

    formants: float
    breath: float
    tilt_db: float
    vibrato_hz: float
    vibrato_cents: float
    vibrato_delay: float
    portamento: float
    drift_cents: float
    detune_cents: float
    late: float


@dataclass(frozen=True)
class _Analysis:
    """Frames of speech, FRAME_S apart, and the phonemes.

    The envelope is the natural log of power. It and the aperiodicity are `(frame, bin)`, with bins
    from 0 Hz to half of SPEECH_RATE.
    """

    log_envelope: np.ndarray
    aperiodicity: np.ndarray
    phonemes: tuple[Phoneme, ...]


def sing(
    voice: Voice,
    lines: tuple[SungLine, ...],
    delivery: Delivery,
    samples: int,
    sample_rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Sings lines: float32 `(sample,)` with `samples` samples, at any sample rate."""
    audio = np.zeros(samples, dtype=np.float32)
    loose = rng.normal(0.0, LOOSENESS_S, len(lines))
    for line, early in zip(lines, loose, strict=True):
        start = max(0.0, line.notes[0].start + delivery.late + early)
        at = round(start * sample_rate)
        if at >= samples:
            break
        sung, lead_in = _sing_line(voice, line, delivery, sample_rate, rng)
        first = at - round(lead_in * sample_rate)
        skipped = max(0, -first)
        length = min(len(sung) - skipped, samples - first - skipped)
        audio[first + skipped : first + skipped + length] += sung[skipped : skipped + length]
    return audio


def _sing_line(
    voice: Voice,
    line: SungLine,
    delivery: Delivery,
    sample_rate: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, float]:
    """A line's audio, and how many seconds of it (the first consonants) precede the first note."""
    analysis = _analyse(voice, line.text)
    positions, lead_in = _alignment(analysis, line.notes)
    time = np.arange(len(positions)) * FRAME_S - lead_in
    # The frames are read at the bins of this sample rate, with shifted formants. espeak's band ends
    # at 10 kHz. Without an extension, this limit would identify vocals at 44.1 kHz.
    bins = vocoder_bins(FRAME_S, sample_rate)
    hz = np.arange(bins) * sample_rate / 2 / (bins - 1)
    read = np.minimum(hz / delivery.formants, SPEECH_TOP_HZ) * ANALYSIS_FFT / SPEECH_RATE
    envelope = _warped(_sampled(analysis.log_envelope, positions), read)
    aperiodicity = _warped(_sampled(analysis.aperiodicity, positions), read)
    tilt_db = delivery.tilt_db * np.log2(np.maximum(hz / TILT_FROM_HZ, 1.0))
    tilt_db -= FALL_DB * np.log2(np.maximum(hz / SPEECH_TOP_HZ, 1.0))
    envelope += (np.log(10) / 10 * tilt_db).astype(np.float32)
    envelope += 2 * np.log(_loudness(line.notes, time) + 1e-5).astype(np.float32)[:, None]
    aperiodicity = aperiodicity ** np.float32(1 - 0.7 * delivery.breath)
    pitch = _pitch(line.notes, time, delivery, rng)
    return vocode(envelope, aperiodicity, pitch, FRAME_S, sample_rate, rng), lead_in


@lru_cache(maxsize=128)
def _analyse(voice: Voice, text: str) -> _Analysis:
    """WORLD's frames of a spoken line.

    espeak speaks with a constant, known pitch, so no pitch tracker is needed. The aperiodicity
    marks voiceless speech.
    """
    import pyworld

    spoken = speak(voice, text)
    frames = int(len(spoken.audio) / SPEECH_RATE / FRAME_S) + 1
    time = np.arange(frames) * FRAME_S
    pitch = np.full(frames, float(SPOKEN_HZ))
    envelope = pyworld.cheaptrick(spoken.audio, pitch, time, SPEECH_RATE, fft_size=ANALYSIS_FFT)
    coarse = slice(None, None, APERIODICITY_STRIDE)
    aperiodicity = pyworld.d4c(
        spoken.audio,
        np.ascontiguousarray(pitch[coarse]),
        np.ascontiguousarray(time[coarse]),
        SPEECH_RATE,
        fft_size=ANALYSIS_FFT,
    )
    aperiodicity = np.repeat(aperiodicity, APERIODICITY_STRIDE, axis=0)[:frames]
    return _Analysis(
        _blurred(np.log(envelope + 1e-12)).astype(np.float32),
        aperiodicity.astype(np.float32),
        spoken.phonemes,
    )


def _blurred(log_envelope: np.ndarray) -> np.ndarray:
    """Smooths the envelopes along frequency, gradually from the lower BLUR_HZ to the upper one.

    espeak's formants 6 to 8 have fixed frequencies with a gap below them, by which a classifier
    could recognise every voice.
    """
    spacing = SPEECH_RATE / ANALYSIS_FFT
    width = round(BLUR_WIDTH_HZ / spacing) | 1
    padded = np.pad(log_envelope, ((0, 0), (width // 2, width // 2)), mode="edge")
    sums = np.cumsum(np.pad(padded, ((0, 0), (1, 0))), axis=1)
    smooth = (sums[:, width:] - sums[:, :-width]) / width
    hz = np.arange(log_envelope.shape[1]) * spacing
    share = np.interp(hz, BLUR_HZ, (0.0, 1.0))
    blurred: np.ndarray = log_envelope * (1 - share) + smooth * share
    return blurred


def _alignment(analysis: _Analysis, notes: tuple[ScoreNote, ...]) -> tuple[np.ndarray, float]:
    """The fractional analysis frame for each output frame, and the lead-in in s.

    Each vowel starts at its note and lasts until the consonants before the next vowel. These keep
    their spoken length where there is room. Raises ValueError for another number of notes than
    vowels.
    """
    phonemes = analysis.phonemes
    vowels = [k for k, p in enumerate(phonemes) if p.is_vowel]
    if len(vowels) != len(notes):
        raise ValueError(f"{len(notes)} notes for {len(vowels)} syllables")
    begin = notes[0].start
    first = phonemes[vowels[0]]
    sung_from = next(p.start for p in phonemes if not p.name.startswith("_"))
    lead_in = min((first.start - sung_from) / SPEECH_RATE, 0.25)
    out_time, source = [-lead_in], [first.start / SPEECH_RATE - lead_in]
    for k, (index, note) in enumerate(zip(vowels, notes, strict=True)):
        vowel = phonemes[index]
        start, end = vowel.start / SPEECH_RATE, vowel.end / SPEECH_RATE
        at = note.start - begin
        last = k == len(vowels) - 1
        until = note.start + note.duration if last else notes[k + 1].start
        until -= begin
        if last:
            voiced = [p for p in phonemes[index + 1 :] if not p.name.startswith("_")]
            coda = sum(p.end - p.start for p in voiced) / SPEECH_RATE
        else:
            coda = phonemes[vowels[k + 1]].start / SPEECH_RATE - end
        held = max(until - at - min(coda, LONGEST_CLUSTER * (until - at)), 0.02)
        # Most of a long note takes the vowel's first half, because diphthongs glide late.
        for share, spoken_share in ((0.0, 0.08), (0.12, 0.25), (0.75, 0.55), (1.0, 0.95)):
            out_time.append(at + share * held)
            source.append(start + spoken_share * (end - start))
        if last:
            out_time.append(at + held + min(coda, LONGEST_CLUSTER * (until - at)) + 0.03)
            source.append(end + coda)
    frames = int((out_time[-1] - out_time[0]) / FRAME_S) + 1
    grid = out_time[0] + np.arange(frames) * FRAME_S
    positions = np.interp(grid, np.maximum.accumulate(out_time), source) / FRAME_S
    return np.clip(positions, 0, len(analysis.log_envelope) - 1), lead_in


def _sampled(frames: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Frames `(frame, bin)` at fractional positions, by linear interpolation."""
    low = positions.astype(int)
    high = np.minimum(low + 1, len(frames) - 1)
    share = (positions - low).astype(np.float32)[:, None]
    mixed: np.ndarray = frames[low] * (1 - share) + frames[high] * share
    return mixed


def _warped(frames: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Frames `(frame, bin)` at fractional bins. The last bin is repeated above the end."""
    last = frames.shape[1] - 1
    at = np.clip(bins, 0, last)
    low = at.astype(int)
    high = np.minimum(low + 1, last)
    share = (at - low).astype(np.float32)
    mixed: np.ndarray = frames[:, low] * (1 - share) + frames[:, high] * share
    return mixed


def _pitch(
    notes: tuple[ScoreNote, ...], time: np.ndarray, delivery: Delivery, rng: np.random.Generator
) -> np.ndarray:
    """Pitch `(frame,)` in Hz: notes joined by portamento, with vibrato and a slow drift."""
    begin = notes[0].start
    starts = np.array([n.start - begin for n in notes])
    which = np.clip(np.searchsorted(starts, time + FRAME_S / 2, side="right") - 1, 0, None)
    pitches = np.array([n.pitch for n in notes], dtype=float)[which]
    width = max(1, round(delivery.portamento / FRAME_S))
    window = np.hanning(width + 2)[1:-1]
    padded = np.pad(pitches, (width // 2, width - 1 - width // 2), mode="edge")
    pitches = np.convolve(padded, window / window.sum(), mode="valid")
    held = time - starts[which]
    onset = np.clip((held - delivery.vibrato_delay) / 0.2, 0, 1)
    cents = delivery.vibrato_cents * onset * np.sin(2 * np.pi * delivery.vibrato_hz * time)
    knots = np.arange(time[0], time[-1] + 0.4, 0.2)
    drift = np.interp(time, knots, rng.standard_normal(len(knots)))
    cents += delivery.drift_cents * drift + delivery.detune_cents
    hertz: np.ndarray = 440.0 * 2 ** ((pitches - 69 + cents / 100) / 12)
    return hertz


def _loudness(notes: tuple[ScoreNote, ...], time: np.ndarray) -> np.ndarray:
    """Gain `(frame,)`, linear between the velocities at the notes' starts.

    It fades out over 50 ms at the line's end.
    """
    begin = notes[0].start
    starts = np.array([n.start - begin for n in notes])
    levels = np.array([n.velocity / 100 for n in notes])
    gain = np.interp(time, starts, levels)
    end = notes[-1].start + notes[-1].duration - begin + 0.03
    gain *= np.clip((end - time) / 0.05, 0, 1)
    return gain
