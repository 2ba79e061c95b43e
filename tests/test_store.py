"""What a finished stage leaves: damage of any of it is refused with its remedy, and deleting the
named folder works."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.integrity import VERIFIED, remember, sha256
from experiments.stages.adaptive_thresholds import AdaptiveThresholds
from experiments.stages.band_songs import BandSongs
from experiments.stages.classifier import Classifier
from experiments.stages.corrupted import Corrupted
from experiments.stages.probabilities import Probabilities
from experiments.stages.recognition_outputs import (
    MULTI,
    SINGLE,
    Output,
    RecognitionOutputs,
    write_outputs,
)
from experiments.stages.trimmed import Trimmed
from experiments.store import Store
from selfrefine.classes import CLASSES
from selfrefine.clips.truth import StemTruth, write_truth
from selfrefine.errors import InputError
from selfrefine.refining.probabilities import StemProbability, write_probabilities
from selfrefine.settings import Corruption

SONGS = BandSongs("a", 0, 1, 10.0, 16000, 0)
STAGE = Trimmed(SONGS)
PSI = Classifier(STAGE)
BYTES = bytes(range(256)) * 40
RESULT = {"stems": 3, "minutes": {"bass": 0.5}, 4: 2.5}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store in which STAGE is finished with a file at its top and one in a folder."""
    store = Store(tmp_path / "runs")
    with store.locked(STAGE):
        folder = store.folder(STAGE)
        (folder / "examples").mkdir()
        (folder / "model.pt").write_bytes(BYTES)
        (folder / "examples" / "song.ogg").write_bytes(BYTES[:1000])
        for ours in ("checkpoint.pt", "error.log", "wandb.json", "model.pt.12.partial"):
            (folder / ours).write_text("not the stage's")
        store.finish(STAGE, RESULT, {"seconds": 1.0})
    return store


def test_a_record_names_every_file_by_size_and_hash(store: Store) -> None:
    files = store.record(STAGE)["files"]
    assert files == {
        "model.pt": [len(BYTES), hashlib.sha256(BYTES).hexdigest()],
        "examples/song.ogg": [1000, hashlib.sha256(BYTES[:1000]).hexdigest()],
    }
    assert store.finished(STAGE) == store.folder(STAGE)
    assert store.result(STAGE)["minutes"] == {"bass": 0.5}


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def flip_digit(path: Path) -> None:
    path.write_text(path.read_text().replace('"stems": 3', '"stems": 8'))


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a flipped byte": ("model.pt", flip_byte),
    "a cut file": ("model.pt", lambda path: os.truncate(path, 100)),
    "a missing file": ("examples/song.ogg", Path.unlink),
    "zeros": ("model.pt", lambda path: path.write_bytes(bytes(len(BYTES)))),
    "a flipped digit in the result": ("done.json", flip_digit),
    "an empty record": ("done.json", lambda path: path.write_text("")),
    "a record that is a list": ("done.json", lambda path: path.write_text("[]")),
    "a record of bytes": ("done.json", lambda path: path.write_bytes(b"\xff\xfe\x00")),
    "a deep record": ("done.json", lambda path: path.write_text("[" * 100000)),
    "a record that lacks keys": ("done.json", lambda path: path.write_text('{"stage": {}}')),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_error_that_names_the_file_and_the_remedy(name: str, store: Store) -> None:
    file, damage = DAMAGE[name]
    folder = store.folder(STAGE)
    store.finished(STAGE)
    damage(folder / file)
    with pytest.raises(InputError) as refused:
        store.finished(STAGE)
    said = str(refused.value)
    assert said.startswith(f"{folder / file}: damaged (")
    assert said.endswith(f"); delete {folder} and run again")
    assert "\n" not in said
    shutil.rmtree(folder)
    assert not store.done(STAGE)
    with store.locked(STAGE):
        store.finish(STAGE, RESULT, {"seconds": 1.0})
    assert store.finished(STAGE) == folder


def test_the_record_of_another_stage_is_refused(store: Store) -> None:
    with store.locked(SONGS):
        shutil.copy(store.folder(STAGE) / "done.json", store.folder(SONGS) / "done.json")
    with pytest.raises(InputError, match="record of another stage"):
        store.result(SONGS)


def test_a_record_of_an_earlier_version_is_accepted(store: Store) -> None:
    path = store.folder(STAGE) / "done.json"
    record = json.loads(path.read_text())
    earlier = {key: record[key] for key in ("stage", "result", "run")}
    path.write_text(json.dumps(earlier, indent=1))
    assert store.record(STAGE) == earlier
    assert store.finished(STAGE) == path.parent


def test_a_stage_that_is_not_finished_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"stems of band a.*not finished"):
        Store(tmp_path).finished(STAGE)


def test_a_file_is_hashed_once_and_again_after_a_change(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store.folder(STAGE)
    hashed: list[str] = []

    def counted(path: Path) -> str:
        hashed.append(path.name)
        return sha256(path)

    # As if the files were written long ago: a file that changed just now is not remembered.
    monkeypatch.setattr("experiments.integrity.CLOCK_SECONDS", -60.0)
    monkeypatch.setattr("experiments.integrity.sha256", counted)
    store.finished(STAGE)
    assert sorted(hashed) == ["model.pt", "song.ogg"]
    store.finished(STAGE)
    assert len(hashed) == 2
    (folder / "model.pt").write_bytes(BYTES)
    store.finished(STAGE)
    assert hashed[2:] == ["model.pt"]
    (folder / VERIFIED).write_text("{")
    store.finished(STAGE)
    assert len(hashed) == 5


def test_records_that_cannot_be_read_are_left_out(store: Store) -> None:
    with store.locked(SONGS):
        (store.folder(SONGS) / "done.json").write_text('{"stage": 3}')
    assert [record["result"]["stems"] for record in store.records()] == [3]


def test_a_stage_folder_that_is_a_file_is_one_error(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.folder(STAGE).parent.mkdir()
    store.folder(STAGE).write_text("")
    with pytest.raises(InputError, match="cannot be made"), store.locked(STAGE):
        pass


# Tables, also of records without hashes

NOISY = Trimmed(Corrupted(SONGS, Corruption()))
JUDGED = Probabilities(NOISY, PSI)
TESTED = RecognitionOutputs(STAGE, PSI, mixtures=2)


def finished_earlier(store: Store, stage: object, result: dict[str, object]) -> None:
    """Writes a record without hashes, as earlier versions did."""
    store.finish(stage, result, {})  # type: ignore[arg-type]
    path = store.folder(stage) / "done.json"  # type: ignore[arg-type]
    record = json.loads(path.read_text())
    path.write_text(json.dumps({key: record[key] for key in ("stage", "result", "run")}))


@pytest.fixture
def tables(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    for stage in (NOISY.songs, JUDGED, TESTED):
        store.folder(stage).mkdir(parents=True)
    shares = (1.0, 0.0, 0.0, 0.0)
    truths = [StemTruth("song", name, (), shares) for name in CLASSES]
    write_truth(store.folder(NOISY.songs) / "truth.csv", truths)
    rows = [StemProbability("song", name, (name,), 9.0, (0.25,) * 4) for name in CLASSES]
    write_probabilities(store.folder(JUDGED) / "probabilities.csv", rows)
    held = (True, False, False, False)
    outputs = [Output(test, str(n), held, (0.25,) * 4) for test in (SINGLE, MULTI) for n in (0, 1)]
    write_outputs(store.folder(TESTED), outputs)
    finished_earlier(store, NOISY.songs, {"stems": 4})
    finished_earlier(store, JUDGED, {"stems": 4})
    finished_earlier(store, TESTED, {"items": {SINGLE: 2, MULTI: 2}})
    return store


def readings(store: Store) -> dict[Path, Callable[[], object]]:
    return {
        store.folder(NOISY.songs) / "truth.csv": lambda: NOISY.truth(store),
        store.folder(JUDGED) / "probabilities.csv": lambda: JUDGED.judged(store),
        store.folder(TESTED) / "outputs.csv": lambda: TESTED.tests(store),
    }


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_table_needs_a_line_for_every_item(number: int, tables: Store) -> None:
    path, read = list(readings(tables).items())[number]
    read()
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(InputError, match=f"{path}.*damaged.*delete {path.parent} and run again"):
        read()


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("value", ["nan", "7", "-0.1", "", "x", "inf"])
def test_a_table_of_probabilities_has_nothing_else(number: int, value: str, tables: Store) -> None:
    path, read = list(readings(tables).items())[number]
    text = path.read_text()
    found = next(known for known in ("0.250000", "0.25000") if known in text)
    path.write_text(text.replace(found, value, 1))
    with pytest.raises(InputError, match=f"{path}.*delete {path.parent} and run again"):
        read()


def test_outputs_need_their_columns_and_known_labels(tables: Store) -> None:
    path = tables.folder(TESTED) / "outputs.csv"
    whole = path.read_text()
    for known, other in (("vocals,bass", "bass,vocals"), ("single,0,vocals", "single,0,voice")):
        assert known in whole
        path.write_text(whole.replace(known, other, 1))
        with pytest.raises(InputError, match="not a table of outputs"):
            TESTED.tests(tables)


@pytest.mark.parametrize("value", [float("nan"), 0.0, 1.5, None, "x"])
def test_a_threshold_is_above_nothing_and_at_most_one(value: object, tmp_path: Path) -> None:
    store, stage = Store(tmp_path), AdaptiveThresholds(TESTED)
    store.folder(stage).mkdir(parents=True)
    good = dict.fromkeys(CLASSES, 0.5)
    finished_earlier(store, stage, {"thresholds": good})
    assert stage.chosen(store) == (0.5,) * 4
    finished_earlier(store, stage, {"thresholds": good | {"bass": value}})
    with pytest.raises(InputError, match=r"damaged.*threshold"):
        stage.chosen(store)


def test_what_a_killed_process_left_of_a_note_goes_with_the_next_one(store: Store) -> None:
    folder = store.folder(STAGE)
    left = folder / f"{VERIFIED}.4711.partial"
    left.write_text("{")
    remember(folder, {})
    assert not left.exists()
    assert (folder / VERIFIED).exists()
