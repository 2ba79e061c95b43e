"""The statistics that compare the band with real music agree with closed forms."""

import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import band_difficulty as benchmark
from benchmarks import band_statistics as statistics
from benchmarks.band_difficulty import Split, song_of, songs_of_folder, split_real, table_lines
from benchmarks.band_statistics import MONO_DB, SAMPLE_RATE, DecodedSong, FeatureTable
from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSet
from selfrefine.errors import InputError
from selfrefine.files.audio_file import write_wav
from selfrefine.scales import SMOKE

SECONDS = 6


def sine(hz: float, amplitude: float = 0.5, seconds: float = SECONDS) -> np.ndarray:
    """`(channel=2, sample)`, both channels equal."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return np.tile(amplitude * np.sin(2 * np.pi * hz * time), (2, 1)).astype(np.float32)


def noise(seed: int, seconds: float = SECONDS) -> np.ndarray:
    """`(channel=2, sample)`, both channels equal."""
    rng = np.random.default_rng(seed)
    one = 0.1 * rng.standard_normal(round(seconds * SAMPLE_RATE))
    return np.tile(one, (2, 1)).astype(np.float32)


def test_a_sines_centroid_is_its_frequency() -> None:
    songs = [DecodedSong("", {"bass": sine(100), "vocals": sine(hz)}) for hz in (800, 1000, 3000)]
    centroids = statistics.timbre(statistics.feature_table(songs))["centroid (Hz)"]
    assert centroids["bass"] == pytest.approx(100, rel=0.01)
    assert centroids["vocals"] == pytest.approx(1000, rel=0.01), "the median over songs"
    assert math.isnan(centroids["drums"])


def test_a_centroid_weighs_by_power_within_a_window_and_is_geometric_over_windows() -> None:
    both = sine(500, 0.2) + sine(2000, 0.4)
    one_after_the_other = np.concatenate([sine(500, seconds=3), sine(2000, seconds=3)], axis=1)
    songs = [DecodedSong("", {"vocals": both, "other": one_after_the_other})]
    centroids = statistics.timbre(statistics.feature_table(songs))["centroid (Hz)"]
    assert centroids["vocals"] == pytest.approx((500 + 4 * 2000) / 5, rel=0.01)
    assert centroids["other"] == pytest.approx(1000, rel=0.01)


def test_width_is_side_to_mid() -> None:
    mid, side = noise(0), noise(1) * np.array([[0.1], [-0.1]], dtype=np.float32)
    songs = [DecodedSong("", {"vocals": mid + side, "bass": mid, "other": noise(2) * [[1], [0]]})]
    found = statistics.timbre(statistics.feature_table(songs))
    width = found["width, side to mid (dB)"]
    assert width["vocals"] == pytest.approx(-20, abs=0.2)
    assert width["bass"] == MONO_DB
    assert width["other"] == pytest.approx(0, abs=1e-3), "one channel alone"
    mono = found["share of windows that are mono"]
    assert [mono[name] for name in ("vocals", "bass", "other")] == [0, 1, 0]


def test_white_noise_is_flat_and_a_sine_is_not() -> None:
    songs = [DecodedSong("", {"drums": noise(0), "bass": sine(100)})]
    flatness = statistics.timbre(statistics.feature_table(songs))["flatness (dB)"]
    assert flatness["drums"] == pytest.approx(0, abs=0.1)
    assert flatness["bass"] < -40


def test_levels_are_to_the_mixture_and_deviate_over_songs() -> None:
    shares = (0.5, 0.1)
    songs = [
        DecodedSong("", {"vocals": sine(500, share**0.5), "other": sine(2000, (1 - share) ** 0.5)})
        for share in shares
    ]
    found = statistics.levels(songs)
    decibels = 10 * np.log10(shares)
    assert found["level to the mixture, mean (dB)"]["vocals"] == pytest.approx(decibels.mean())
    assert found["level to the mixture, deviation (dB)"]["vocals"] == pytest.approx(decibels.std())
    assert math.isnan(found["level to the mixture, mean (dB)"]["bass"])


def test_quiet_frames_and_pauses_are_counted() -> None:
    voice = noise(0, 10)
    voice[:, 2 * SAMPLE_RATE : 4 * SAMPLE_RATE] *= 1e-3
    voice[:, 6 * SAMPLE_RATE : 7 * SAMPLE_RATE] = 0
    voice[:, 8 * SAMPLE_RATE : round(8.4 * SAMPLE_RATE)] = 0
    found = statistics.activity([DecodedSong("", {"vocals": voice, "bass": noise(1, 10)})])
    assert found["sounding share"]["vocals"] == pytest.approx(0.66)
    assert found["pauses of .5 s and more, a minute"]["vocals"] == pytest.approx(12)
    assert found["length of such a pause (s)"]["vocals"] == pytest.approx(1.5)
    assert found["sounding share"]["bass"] == 1
    assert math.isnan(found["length of such a pause (s)"]["bass"]), "there is none"


def test_registers_overlap_as_bhattacharyya_says() -> None:
    disjoint = statistics.shared_area(np.array([1.0, 0.0]), np.array([0.0, 3.0]))
    halved = statistics.shared_area(np.array([5.0, 0.0]), np.array([1.0, 1.0]))
    assert (disjoint, halved) == (0, pytest.approx(0.5**0.5))
    mixed = sine(100) + sine(3000)
    stems = {"vocals": sine(3000), "bass": sine(100), "drums": sine(100, 0.1), "other": mixed}
    found = statistics.register_overlap([DecodedSong("", stems)])
    assert found["bass and drums"] == pytest.approx(1, abs=1e-3)
    assert found["vocals and bass"] == pytest.approx(0, abs=1e-3)
    assert found["bass and other"] == pytest.approx(0.5**0.5, abs=1e-3)


def test_registers_overlap_only_where_both_sound() -> None:
    silence = np.zeros_like(sine(100, seconds=3))
    bass = np.concatenate([sine(100, seconds=3), silence], axis=1)
    drums = np.concatenate([sine(100, seconds=3), sine(3000, seconds=3)], axis=1)
    other = np.concatenate([silence, sine(100, seconds=3)], axis=1)
    found = statistics.register_overlap(
        [DecodedSong("", {"bass": bass, "drums": drums, "other": other})]
    )
    assert found["bass and drums"] == pytest.approx(1, abs=1e-3)
    assert found["drums and other"] == pytest.approx(0, abs=1e-3)
    assert math.isnan(found["bass and other"])
    assert math.isnan(found["vocals and bass"])


def test_low_registers_are_shared_by_energy() -> None:
    stems = {"bass": sine(100, 0.4), "drums": sine(100, 0.2) + sine(220, 0.1)}
    others = {"vocals": sine(1000), "other": sine(220, 0.3)}
    without_vocals = DecodedSong("", {"bass": sine(3000), "drums": sine(100), "other": sine(5000)})
    found = statistics.low_register_shares([DecodedSong("", stems | others), without_vocals])
    under = found["share of the energy under 150 Hz"]
    above = found["share of the energy 150-300 Hz"]
    assert [under[name] for name in CLASSES] == pytest.approx([0, 0.8, 0.2, 0], abs=1e-3)
    assert [above[name] for name in CLASSES] == pytest.approx([0, 0, 0.1, 0.9], abs=1e-3)


def four_sines() -> DecodedSong:
    frequencies = dict(zip(CLASSES, (500, 100, 2000, 4000), strict=True))
    return DecodedSong("", {name: sine(hz) for name, hz in frequencies.items()})


def test_an_ideal_mask_parts_disjoint_sources() -> None:
    found = statistics.separability([four_sines()])["ideal ratio mask, SDR (dB)"]
    assert min(found.values()) > 30


def test_ideal_masks_add_up_to_the_mixture() -> None:
    song = DecodedSong("", {"vocals": noise(0), "drums": noise(1)})
    found = statistics.ideal_mask(song)
    np.testing.assert_allclose(sum(found.values()), song.mixture, atol=1e-5)
    scores = statistics.song_sdr(song, found)
    assert scores[2] < 15, "sources of one register are not parted"


def test_a_quarter_of_the_mixture_of_four_equal_sources_has_error_of_three_quarters() -> None:
    found = statistics.separability([four_sines()])["mixture / 4, SDR (dB)"]
    assert list(found.values()) == pytest.approx([-10 * math.log10(0.75)] * 5, abs=1e-3)


def test_a_class_that_a_song_lacks_is_not_scored_and_hinders_no_other() -> None:
    song = DecodedSong("", {"vocals": sine(500), "other": sine(2000)})
    scores = statistics.song_sdr(song, dict.fromkeys(CLASSES, song.mixture / 2))
    assert np.isnan(scores[1:3]).all()
    assert scores[[0, 3]] == pytest.approx(10 * math.log10(2), abs=1e-3)


def test_a_windows_features_are_what_they_are_called() -> None:
    window = sine(1000, seconds=3) * [[1], [0.5]]
    level, pan, _, *bands = statistics.window_features(window, 4 * window)[:8]
    assert level == pytest.approx(-20 * math.log10(4))
    assert pan == pytest.approx(20 * math.log10(2))
    assert bands[2] == pytest.approx(0, abs=1e-3), "500 to 1500 Hz"
    assert max(bands[:2] + bands[3:]) < -40
    assert statistics.window_features(window, window)[10] == pytest.approx(2 / 16, rel=1e-2)


def test_onsets_are_counted() -> None:
    clicks = 1e-4 * noise(0, 3)
    for beat in range(12):
        clicks[:, beat * 4000 + 2000 : beat * 4000 + 2100] += 0.5
    assert statistics.window_features(clicks, clicks)[11] == pytest.approx(4, abs=0.4)


def test_features_do_not_tell_how_loud_a_song_is() -> None:
    window, mixture = noise(0, 3) + noise(1, 3) * [[0.3], [-0.2]], noise(2, 3)
    quiet = statistics.window_features(window / 8, mixture / 8)
    np.testing.assert_allclose(quiet, statistics.window_features(window, mixture), atol=1e-3)


def table(rows: Callable[[np.random.Generator, np.ndarray], np.ndarray]) -> FeatureTable:
    """A table of ten songs, with four windows per class and song."""
    rng = np.random.default_rng(0)
    labels = np.tile(np.repeat(np.arange(4), 4), 10)
    return FeatureTable(rows(rng, labels), labels, np.repeat(np.arange(10), 16))


def test_classifiers_tell_what_can_be_told() -> None:
    telling = table(lambda rng, labels: np.eye(4)[labels] + 0.1 * rng.standard_normal((160, 4)))
    silent = table(lambda rng, labels: rng.standard_normal((160, 4)))
    moved = replace(telling, rows=np.roll(telling.rows, 1, axis=1))
    assert statistics.own_accuracy(telling, slice(0, 4)) == 1
    assert statistics.own_accuracy(silent, slice(0, 4)) < 0.4
    assert statistics.own_accuracy(telling, slice(0, 1)) < 0.8, "only these columns"
    assert statistics.accuracy_across(telling, telling, slice(0, 4)) == 1
    assert statistics.accuracy_across(telling, moved, slice(0, 4)) == 0


def test_a_song_is_judged_by_a_classifier_that_has_not_seen_it() -> None:
    """Each song tells its classes by columns of its own, so only a classifier that has seen the
    song can know them."""

    def of_its_own(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
        return np.eye(40)[np.repeat(np.arange(10), 16) * 4 + labels]

    assert statistics.own_accuracy(table(of_its_own), slice(0, 40)) < 0.4
    assert statistics.accuracy_across(table(of_its_own), table(of_its_own), slice(0, 40)) == 1


def write_song(folder: Path, signals: dict[str, np.ndarray]) -> None:
    for name, audio in signals.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_wav(folder / f"{name}.wav", audio, SAMPLE_RATE)


def test_folders_are_read_as_stems_or_tracks_and_by_their_splits(tmp_path: Path) -> None:
    write_song(tmp_path / "train" / "x", {"vocals": sine(500), "mixture": sine(600)})
    write_song(tmp_path / "train" / "x", {"tracks/drums__kick": sine(60)})
    tracks = {"tracks/bass__one": sine(80, 0.2), "tracks/bass__two": sine(80, 0.3, seconds=4)}
    write_song(tmp_path / "test" / "y", tracks | {"tracks/other__x": 0 * sine(80)})
    first, second = songs_of_folder(tmp_path)
    assert (first.name, list(first.stems)) == ("x", ["vocals"]), "stems before tracks"
    assert (second.name, list(second.stems)) == ("y", ["bass"]), "silent stems are left out"
    bass = sine(80, 0.2)
    bass[:, : 4 * SAMPLE_RATE] += sine(80, 0.3, seconds=4)
    np.testing.assert_allclose(second.stems["bass"], bass, atol=1e-4)


def test_songs_that_cannot_be_used_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_song(tmp_path / "short", {"vocals": sine(500, seconds=2)})
    write_song(tmp_path / "silent", {"vocals": 0 * sine(500)})
    assert songs_of_folder(tmp_path) == []
    assert [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()] == [
        "shorter than 3 s, left out",
        "silent, left out",
    ]


def test_a_folder_without_songs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no song found; expected <song>"):
        songs_of_folder(tmp_path)
    with pytest.raises(InputError, match="nowhere: no such folder"):
        songs_of_folder(tmp_path / "nowhere")


def named(*names: str) -> list[DecodedSong]:
    return [DecodedSong(name, {}) for name in names]


def test_real_songs_are_held_out_by_folder_or_every_fifth() -> None:
    one, two = Path("one"), Path("two")
    folders = {one: named(*"abcdefg"), two: named(*"hijk")}
    fifth = split_real(folders, None)
    assert "".join(song.name for song in fifth.test) == "ej"
    assert "".join(song.name for song in fifth.train) == "abcdfghik"
    by_folder = split_real(folders, one)
    assert (by_folder.test, by_folder.train) == (folders[one], folders[two])
    with pytest.raises(InputError, match="three: name it after --real"):
        split_real(folders, Path("three"))
    with pytest.raises(InputError, match="0 real songs to train"):
        split_real({one: folders[one]}, one)


def test_every_separator_is_tested_on_every_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Separators trained on `good` songs are right; the others give a quarter of the mixture."""
    song = four_sines()
    splits = {"good": Split(named("good"), [song]), "bad": Split(named("bad"), [song, song])}

    def trained(songs: list[DecodedSong], *_: object) -> str:
        return songs[0].name

    def separated(model: str, settings: object, mixture: torch.Tensor) -> torch.Tensor:
        if model == "good":
            return torch.from_numpy(np.stack(list(song.stems.values()))) * 1.1
        return mixture.repeat(4, 1, 1) / 4

    monkeypatch.setattr(benchmark, "trained_separator", trained)
    monkeypatch.setattr("selfrefine.models.separator.separate_song", separated)
    found = benchmark.separator_scores(splits, SMOKE.xumx, seed=0)
    for tested in ("good", "bad"):
        averages = {group: values["avg"] for group, values in found[tested].items()}
        assert averages == {
            "X-UMX trained on good, SDR (dB)": pytest.approx(20, abs=1e-3),
            "X-UMX trained on bad, SDR (dB)": pytest.approx(1.249, abs=1e-3),
        }


def test_separators_are_trained_on_stems_without_their_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[AudioSet] = []

    def pretended(stems: AudioSet, settings: object, seed: int, place: SimpleNamespace) -> None:
        from selfrefine.models.separator import build_separator

        seen.append(stems)
        torch.save({"model": build_separator(SMOKE.xumx).state_dict()}, place.folder / "model.pt")

    monkeypatch.setattr("selfrefine.training.separator.train_separator", pretended)
    half = sine(500)
    half[:, half.shape[1] // 2 :] = 0
    songs = [
        DecodedSong("x", {"vocals": half, "bass": sine(100)}),
        DecodedSong("y", {"bass": sine(90)}),
    ]
    cpu = torch.device("cpu")
    model = benchmark.trained_separator(songs, SMOKE.xumx, 0, tmp_path, cpu)
    assert not model.training
    clips = [(clip.song, clip.label, round(clip.length / SAMPLE_RATE, 1)) for clip in seen[0].clips]
    assert clips == [("x", ("vocals",), 3.0), ("x", ("bass",), 6.0), ("y", ("bass",), 6.0)]


def test_the_table_has_a_column_a_source() -> None:
    found = {
        "real": {"width, side to mid (dB)": {"bass": MONO_DB}, "share": {"bass": 0.123}},
        "band a": {"share": {"bass": math.nan, "other": 36}},
    }
    assert [line.split() for line in table_lines(found)] == [
        ["real", "band", "a"],
        ["width,", "side", "to", "mid", "(dB)"],
        ["bass", "mono", "-"],
        ["share"],
        ["bass", "0.12", "-"],
        ["other", "-", "36"],
    ]


@pytest.fixture
def pretended_band(monkeypatch: pytest.MonkeyPatch) -> None:
    def played(
        domain: str, seed: int, indices: range, seconds: float, rate: int, processes: int
    ) -> Iterator[list[SimpleNamespace]]:
        for index in indices:
            yield [
                SimpleNamespace(stem=name, audio=noise(10 * index + number, seconds))
                for number, name in enumerate((*CLASSES, "other"))
            ]

    monkeypatch.setattr(benchmark, "play_songs", played)


def test_the_command_prints_and_writes_all_sources(
    pretended_band: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("x", "y"):
        write_song(tmp_path / "songs" / name, {"vocals": sine(800), "bass": sine(100)})
    path = tmp_path / "found.json"
    words = ["--real", str(tmp_path / "songs"), "--songs", "3", "--seconds", "3"]
    monkeypatch.setattr(sys, "argv", ["band_difficulty", *words, "--json", str(path)])
    assert benchmark.main() == 0
    found = json.loads(path.read_text())
    assert list(found) == ["real", "band a", "band b"]
    assert found["real"]["songs with the class"] == {"vocals": 2, "bass": 2, "drums": 0, "other": 0}
    assert found["band a"]["songs with the class"] == dict.fromkeys(CLASSES, 3)
    assert found["real"]["centroid (Hz)"]["drums"] is None
    assert found["band b"]["flatness (dB)"]["drums"] == pytest.approx(0, abs=0.2)
    assert "trained on real" in found["band a"]["balanced accuracy by (ii) five bands"]
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["real", "band", "a", "band", "b"]
    assert len([line for line in lines if not line.startswith(" ")]) == len(found["real"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--songs", "1"], "at least 2 songs"),
        (["--test-songs", "0"], "at least 1"),
        (["--seconds", "2"], "at least 3 s"),
        (["--test-dir", "x"], "give --separator too"),
        (["--real", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_bad_words_are_one_line(
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["band_difficulty", *words])
    assert benchmark.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_signals_of_a_class_are_summed() -> None:
    song = song_of("x", [("other", sine(500, 0.25)), ("other", sine(500, 0.25))])
    np.testing.assert_allclose(song.stems["other"], sine(500), atol=1e-6)
    assert list(song.stems) == ["other"]
