"""The embedded band: its songs depend on the seed alone, their form, activity and singing, and
trivial features do not tell its classes."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from selfrefine.band import DOMAINS, Track, play_song, soundfont
from selfrefine.band.compose import compose
from selfrefine.band.domains import DOMAIN_BY_NAME
from selfrefine.band.parts_vocals import SungLine
from selfrefine.band.sampler import Program, play_program
from selfrefine.band.score import ScoreNote
from selfrefine.band.singing import Delivery, sing
from selfrefine.band.voice import Voice, speak, syllables
from selfrefine.classes import CLASSES
from selfrefine.errors import InputError

RATE = 16000

FINGERPRINTS = """
import hashlib, json, sys
from selfrefine.band import play_song
out = {}
for domain, index in json.loads(sys.argv[1]):
    tracks = play_song(domain, 5, index, 8.0, 16000)
    digest = hashlib.sha256(b"".join(t.audio.tobytes() for t in tracks)).hexdigest()
    out[f"{domain}{index}"] = digest
print(json.dumps(out))
"""


def stems_of(tracks: list[Track]) -> dict[str, np.ndarray]:
    return {c: np.sum([t.audio for t in tracks if t.stem == c], axis=0) for c in CLASSES}


def active_share(audio: np.ndarray) -> float:
    """The share of frames of 0.1 s that are within 30 dB of the loudest one."""
    size = RATE // 10
    frames = audio[:, : audio.shape[1] // size * size].reshape(2, -1, size)
    power = np.mean(frames.astype(np.float64) ** 2, axis=(0, 2))
    return float(np.mean(power >= 1e-3 * power.max()))


def played_in_a_fresh_process(order: list[tuple[str, int]]) -> dict[str, str]:
    run = subprocess.run(
        [sys.executable, "-c", FINGERPRINTS, json.dumps(order)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(run.stdout)


@pytest.mark.slow
def test_same_arguments_give_same_bytes_in_any_process_and_order() -> None:
    songs = [("a", 0), ("b", 0), ("a", 1), ("b", 3)]
    first = played_in_a_fresh_process(songs)
    assert played_in_a_fresh_process(songs[::-1]) == first
    # And here, after other songs and at another sample rate.
    play_song("b", 9, 9, 8.0, RATE)
    play_song("a", 5, 0, 8.0, 22050)
    for domain, index in songs[:2]:
        tracks = play_song(domain, 5, index, 8.0, RATE)
        digest = hashlib.sha256(b"".join(t.audio.tobytes() for t in tracks)).hexdigest()
        assert digest == first[f"{domain}{index}"]


def test_speech_does_not_depend_on_what_was_said_before() -> None:
    voice = Voice("en", (108, 112, 110, 110, 110))
    once = speak(voice, "the morning light is on the stairs")
    speak.cache_clear()
    speak(Voice("it", (94, 96, 94, 96, 96)), "la luna cade dentro al mare")
    speak(Voice("nl", (106, 109, 107, 108, 110)), "de regen valt op onze straat")
    again = speak(voice, "the morning light is on the stairs")
    np.testing.assert_array_equal(once.audio, again.audio)
    assert once.phonemes == again.phonemes


def test_seed_index_and_domain_each_change_the_song() -> None:
    mixtures = [
        np.sum([t.audio for t in play_song(*key, 8.0, RATE)], axis=0)
        for key in (("a", 0, 0), ("a", 0, 1), ("a", 1, 0), ("b", 0, 0))
    ]
    for k, one in enumerate(mixtures):
        for other in mixtures[:k]:
            cosine = np.sum(one * other) / np.sqrt(np.sum(one**2) * np.sum(other**2))
            assert abs(cosine) < 0.5


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize(("rate", "seconds"), [(16000, 8.0), (44100, 8.4)])
def test_all_classes_sound_at_the_right_length_without_clipping(
    domain: str, rate: int, seconds: float
) -> None:
    tracks = play_song(domain, 3, 2, seconds, rate)
    counts = {c: sum(t.stem == c for t in tracks) for c in CLASSES}
    assert 1 <= counts["vocals"] <= 3
    assert 1 <= counts["bass"] <= 2
    assert 2 <= counts["drums"] <= 4
    assert 2 <= counts["other"] <= 4
    for track in tracks:
        assert track.audio.dtype == np.float32
        assert track.audio.shape == (2, round(seconds * rate))
        assert np.isfinite(track.audio).all()
        assert np.abs(track.audio.mean()) < 1e-3
    stems = stems_of(tracks)
    mixture = np.sum(list(stems.values()), axis=0)
    for audio in (mixture, *stems.values()):
        assert np.abs(audio).max() <= 0.98 + 1e-6
    assert np.abs(mixture).max() > 0.2


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_voices_pause_and_the_others_sound_most_of_the_time(domain: str) -> None:
    songs = [stems_of(play_song(domain, 11, index, 20.0, RATE)) for index in range(6)]
    shares = {c: np.mean([active_share(song[c]) for song in songs]) for c in CLASSES}
    assert 0.6 <= shares["vocals"] <= 0.92
    assert all(0.8 <= shares[c] <= 1.0 for c in ("bass", "drums", "other"))
    assert shares["vocals"] < min(shares["bass"], shares["drums"], shares["other"])


@pytest.mark.parametrize("seconds", [1.0, 4.0, 10.0])
def test_someone_sings_however_short_the_song(seconds: float) -> None:
    for domain in DOMAINS:
        for index in range(4):
            lead = compose(domain, 5, index, seconds).vocals[0]
            assert lead.lines[0].notes[0].start < seconds


def test_the_domains_share_no_voice_and_a_minority_of_the_instruments() -> None:
    a, b = (DOMAIN_BY_NAME[name] for name in DOMAINS)
    for pool in ("others", "basses", "grooves"):
        ours, theirs = ({x.name for x in getattr(d, pool)} for d in (a, b))
        assert len(ours & theirs) <= 0.5 * min(len(ours), len(theirs)), pool
    assert not {s.voice for s in a.singers} & {s.voice for s in b.singers}


def test_songs_differ_in_tempo_key_and_instruments() -> None:
    songs = [compose(domain, 0, k, 20.0) for domain in DOMAINS for k in range(10)]
    assert len({s.plan.bpm for s in songs}) == 20
    assert len({s.plan.tonic for s in songs}) >= 6
    assert len({p.name for s in songs for p in s.other}) >= 20


def test_bass_and_chords_stay_in_the_key() -> None:
    for index in range(5):
        song = compose("a", 2, index, 20.0)
        key = {(song.plan.tonic + s) % 12 for s in song.plan.scale}
        for part in (*song.bass, *song.other):
            assert {n.pitch % 12 for n in part.notes} <= key
        for voice in song.vocals:
            assert {n.pitch % 12 for line in voice.lines for n in line.notes} <= key


def autocorrelation_pitch(audio: np.ndarray, at: float, low: float, high: float) -> float:
    """The pitch in Hz around `at` s, from the highest peak of the normalised autocorrelation."""
    size = int(0.05 * RATE)
    start = int(at * RATE) - size // 2
    frame = audio[start : start + size]
    lags = np.arange(int(RATE / high), int(RATE / low) + 1)
    scores = np.empty(len(lags))
    for k, lag in enumerate(lags):
        later = audio[start + lag : start + lag + size]
        scores[k] = frame @ later / np.sqrt((frame @ frame) * (later @ later) + 1e-12)
    best = int(np.flatnonzero(scores >= scores.max() - 0.02)[0])
    while best + 1 < len(lags) and scores[best + 1] > scores[best]:
        best += 1
    if 0 < best < len(lags) - 1:
        before, here, after = scores[best - 1 : best + 2]
        return float(RATE / (lags[best] + (before - after) / (2 * (before - 2 * here + after))))
    return float(RATE / lags[best])


@pytest.mark.parametrize("domain", DOMAINS)
def test_sung_pitch_follows_the_melody(domain: str) -> None:
    errors = []
    for index in range(6):
        lead = compose(domain, 4, index, 12.0).vocals[0]
        rng = np.random.default_rng(0)
        # Breath and bright overtones make an autocorrelation hear an octave less.
        delivery = replace(lead.delivery, breath=0.0, tilt_db=-3.0)
        audio = sing(lead.singer.voice, lead.lines, delivery, 12 * RATE, RATE, rng)
        for note in (note for line in lead.lines for note in line.notes):
            middle = note.start + 0.5 * note.duration
            if note.duration < 0.3 or middle > 11.5:
                continue
            written = 440.0 * 2 ** ((note.pitch - 69) / 12)
            heard = autocorrelation_pitch(audio, middle, 60.0, 900.0)
            errors.append(abs(1200 * np.log2(heard / written)))
    assert len(errors) >= 20
    # Vibrato and drift move a note by up to about a semitone; a wrong note is off by more.
    assert np.median(errors) < 50
    assert np.mean(np.array(errors) < 120) >= 0.8


@pytest.mark.parametrize("program", [0, 16, 24, 33, 40, 48, 56, 73, 80])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_recorded_instruments_play_in_tune(program: int, rate: int) -> None:
    for pitch in (45, 57, 64, 69):
        audio = play_program(Program(program), [ScoreNote(0.0, 1.2, pitch, 100)], rate, rate).mean(
            axis=0
        )
        spectrum = np.abs(np.fft.rfft(audio * np.hanning(rate), 8 * rate))
        written = 440.0 * 2 ** ((pitch - 69) / 12)
        # The second harmonic too: a bass has little of its first.
        cents = []
        for harmonic in (1, 2):
            low, high = (round(8 * harmonic * written * 2 ** (c / 12)) for c in (-0.9, 0.9))
            peak = low + int(np.argmax(spectrum[low:high]))
            cents.append(abs(1200 * np.log2(peak / 8 / harmonic / written)))
        assert min(cents) < 20


def test_struck_and_plucked_instruments_fade_and_bowed_ones_do_not() -> None:
    def fall_db(program: int) -> float:
        audio = play_program(Program(program), [ScoreNote(0.0, 2.5, 60, 100)], 2 * RATE, RATE)
        power = [np.mean(audio[:, int(t * RATE) :][:, : RATE // 10] ** 2) for t in (0.2, 1.6)]
        return float(10 * np.log10(power[0] / power[1]))

    for program in (0, 12, 24, 33, 45):  # piano, marimba, guitar, bass, pizzicato
        assert fall_db(program) > 4
    for program in (16, 40, 56, 73):  # organ, violin, trumpet, flute
        assert abs(fall_db(program)) < 3


def test_a_preset_that_the_sound_font_lacks_is_named() -> None:
    with pytest.raises(InputError, match="preset 99 in bank 128"):
        soundfont.zones(soundfont.DRUM_BANK, 99)


def test_vowels_are_stretched_to_their_notes() -> None:
    voice = Voice("en", (100, 100, 100, 100, 100))
    text = "we built a house of paper walls"
    starts = np.cumsum([0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4])
    notes = tuple(ScoreNote(float(s), 0.4, 60, 100) for s in starts)
    long = (*notes[:-1], ScoreNote(float(starts[-1]), 2.4, 60, 100))
    assert len(notes) == syllables(voice, text)
    delivery = Delivery(1.0, 0.0, 0.0, 5.0, 0.0, 0.2, 0.03, 0.0, 0.0, 0.0)
    ends = []
    for words in (notes, long):
        rng = np.random.default_rng(0)
        audio = sing(voice, (SungLine(text, words),), delivery, 8 * RATE, RATE, rng)
        loud = np.flatnonzero(np.abs(audio) > 0.05 * np.abs(audio).max())
        assert abs(loud[0] / RATE - 0.5) < 0.25
        ends.append(loud[-1] / RATE)
    assert ends[0] == pytest.approx(starts[-1] + 0.4, abs=0.15)
    assert ends[1] - ends[0] == pytest.approx(2.0, abs=0.1)


@pytest.mark.slow
def test_stems_stand_where_engineers_put_them() -> None:
    widths: dict[str, list[float]] = {c: [] for c in CLASSES}
    centres: dict[str, list[float]] = {c: [] for c in CLASSES}
    kicks = []
    for index in range(12):
        stems = stems_of(play_song(DOMAINS[index % 2], 21, index, 8.0, RATE))
        for name, audio in stems.items():
            middle, side = audio.mean(axis=0), (audio[0] - audio[1]) / 2
            widths[name].append(10 * np.log10(np.mean(side**2) / np.mean(middle**2) + 1e-9))
            power = np.abs(np.fft.rfft(middle)) ** 2
            hertz = np.fft.rfftfreq(len(middle), 1 / RATE)
            centres[name].append(float((hertz * power).sum() / power.sum()))
            if name == "drums":
                kicks.append(power[hertz < 150].sum() / power.sum())
    width = {name: np.median(values) for name, values in widths.items()}
    centre = {name: np.median(values) for name, values in centres.items()}
    assert width["bass"] < width["vocals"] < width["other"]
    assert width["drums"] < width["other"]
    assert centre["bass"] < 250 < min(centre["vocals"], centre["other"])
    assert np.median(kicks) > 0.4


@pytest.mark.parametrize(
    "arguments",
    [
        ("c", 0, 0, 8.0, 16000),
        ("a", -1, 0, 8.0, 16000),
        ("a", 0, -1, 8.0, 16000),
        ("a", 0, 0, float("nan"), 16000),
        ("a", 0, 0, 0.0, 16000),
        ("a", 0, 0, 8.0, 100),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: tuple) -> None:
    with pytest.raises(InputError):
        play_song(*arguments)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pyworld" else found(name)
    )
    with pytest.raises(InputError, match="pyworld-prebuilt"):
        play_song("a", 0, 0, 8.0, RATE)


def test_a_missing_sound_font_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundfont, "SOUND_FONT", "absent.sf2")
    with pytest.raises(InputError, match=r"absent\.sf2"):
        soundfont.sound_font_path()


def test_a_missing_language_is_named() -> None:
    with pytest.raises(InputError, match="xx-none"):
        speak(Voice("xx-none", (100, 100, 100, 100, 100)), "hello")
