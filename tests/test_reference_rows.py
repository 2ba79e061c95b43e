"""Our interpretations where the paper gives no detail, and our own reference rows."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.commands import list_targets
from experiments.data import bind
from experiments.noise_rate import NOISE_RATE
from experiments.profiles import PROFILES
from experiments.registry import (
    OPTIONS,
    OTHER_EFFECTS,
    TABLE2,
    TABLE3,
    TABLE5,
    psi_noisy,
    refined,
    with_effects,
    with_refining,
)
from experiments.stages.classifier import Classifier
from experiments.stages.corrupted import Corrupted
from experiments.stages.data_set import NOISY, UNCORRUPTED
from experiments.stages.folder_songs import FolderSongs
from experiments.stages.relabelled import Relabelled
from experiments.stages.separation_score import SeparationScore
from experiments.stages.separator import Separator
from experiments.stages.stage import Stage, closure, describe, identity
from experiments.stages.trimmed import Trimmed
from experiments.stages.truly_labelled import TrulyLabelled
from experiments.store import Store
from experiments.targets import left_out, resolved_rows, rows_on
from experiments.tracking.labels import label_rows
from experiments.work import Work
from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSetWriter
from selfrefine.clips.truth import StemTruth, write_truth
from selfrefine.errors import InputError
from selfrefine.progress import Progress, ignore
from selfrefine.refining.probabilities import StemProbability, write_probabilities
from selfrefine.settings import EffectRanges
from tests.conftest import RATE, tone

MINI = PROFILES["mini"]
OF_TRUTH = {
    *(f"table2/{network}-uncorrupted" for network in ("demucs", "x-umx")),
    *(f"table2/{network}-true-labels" for network in ("demucs", "x-umx")),
    *(f"{table}/uncorrupted" for table in ("table3", "table5", "options")),
    *(f"started/{network}-uncorrupted" for network in ("demucs", "x-umx")),
    *(f"started/{network}-true-labels" for network in ("demucs", "x-umx")),
    "robust/uncorrupted",
    "robust/least-.7-of-relative-losses-uncorrupted",
    "robust/true-labels",
    *(f"noise-rate/{row.name}" for row in NOISE_RATE.rows),
}


def test_identities_are_those_that_results_were_published_under() -> None:
    """At the paper's scale, the identities are as they were before any field was added."""
    published = {
        "x-umx-noisy": "4d1cf81b9286",
        "x-umx-psi-refined": "47eefae0e718",
        "demucs-psi-refined": "726a31d15888",
    }
    for name, known in published.items():
        dropping = with_refining(TABLE2.row(name).stage.separator, most_probable=False)
        assert identity(dropping) == known
    adaptive = OPTIONS.row("adaptive-thresholds-on-test").stage.separator
    assert identity(with_refining(adaptive, most_probable=False)) == "bb22068efaee"
    assert identity(with_refining(adaptive, most_probable=True)) != "bb22068efaee"


def separators(rows: dict[str, tuple]) -> Iterator[tuple[str, Separator]]:
    for label, (_, stage) in rows.items():
        if isinstance(stage, SeparationScore):
            yield label, stage.separator


def test_each_option_is_the_proposal_with_one_reading_changed_at_the_profiles_scale() -> None:
    rows = dict(separators(resolved_rows(["options", "table3/proposed"], MINI, "band")))
    proposed = rows["table3/proposed"]
    other = next(rows[f"options/{name}"] for name in ("most-probable", "drop") if has(name))
    rule = proposed.trained_on.most_probable
    assert other == with_refining(proposed, most_probable=not rule)
    half = rows["options/drop-half"]
    refinements = [each for each in closure([half]) if isinstance(each, Relabelled)]
    assert {each.thresholds for each in refinements} == {(0.5,) * 4}
    assert {each.most_probable for each in refinements} == {False}
    effects = next(rows[f"options/{n}-effects"] for n in ("lighter", "stronger") if has(f"{n}-eff"))
    trained = [each for each in closure([effects]) if isinstance(each, Classifier)]
    assert len(trained) == 2
    assert {each.settings.effects for each in trained} == {OTHER_EFFECTS}
    assert (
        with_effects(effects, proposed.trained_on.probabilities.classifier.settings.effects)
        == proposed
    )
    assert len({identity(stage) for stage in (proposed, other, half, effects)}) == 4


def has(start: str) -> bool:
    return any(row.name.startswith(start) for row in OPTIONS.rows)


def test_effects_are_replaced_in_every_classifier_and_nowhere_else() -> None:
    mild = EffectRanges(reverb_wet=(0.0, 0.1))
    before = TABLE2.row("x-umx-psi-refined").stage
    pairs = zip(closure([before]), closure([with_effects(before, mild)]), strict=True)
    for own, changed in pairs:
        if isinstance(own, Classifier):
            assert changed.settings == replace(own.settings, effects=mild)
        if isinstance(own, Separator):
            assert changed.settings == own.settings


@pytest.mark.parametrize("table", [TABLE2, TABLE3, TABLE5, OPTIONS], ids=lambda table: table.name)
def test_a_gap_lies_between_the_noisy_and_the_uncorrupted_songs_of_one_network(table) -> None:
    for row in table.rows:
        low, high = (table.row(name).stage.separator for name in row.gap)
        assert low.trained_on == Trimmed(NOISY)
        assert high == replace(low, trained_on=Trimmed(UNCORRUPTED))
        assert row.stage.separator.settings.network == low.settings.network


def test_reference_rows_are_marked_and_stand_in_no_table_of_the_paper() -> None:
    ours = {row.name for row in TABLE2.rows if row.ours}
    assert ours == {label.removeprefix("table2/") for label in OF_TRUTH if "table2" in label}
    assert not any(row.paper for row in TABLE2.rows if row.ours)
    assert all(row.paper for row in TABLE2.rows if not row.ours)
    for table, names in ((TABLE3, {"noisy", "uncorrupted"}), (TABLE5, {"uncorrupted"})):
        assert {row.name for row in table.rows if row.ours} == names


@pytest.mark.parametrize("data", ["band", "multitrack"])
def test_uncorrupted_songs_are_those_behind_the_noisy_set(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracks = tmp_path / "train" / "A - B" / "tracks"
    tracks.mkdir(parents=True)
    (tracks / "bass__synth.wav").write_bytes(b"not looked into")
    monkeypatch.setenv("MULTITRACK_PATH", str(tmp_path))
    noisy = bind(NOISY, data, MINI.data)
    assert isinstance(noisy, Corrupted)
    assert bind(UNCORRUPTED, data, MINI.data) == noisy.songs


def test_data_without_truth_lacks_the_rows_that_need_it_and_no_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert set(rows_on(["*"], "band")) - set(rows_on(["*"], "musdb")) == OF_TRUTH
    assert set(rows_on(["*"], "multitrack")) == set(rows_on(["*"], "band"))
    assert left_out(["*"], "band") == ""
    assert left_out(["table2/x-umx-*"], "musdb") == (
        "2 rows need the truth of the noisy set, which musdb does not know: "
        "table2/x-umx-uncorrupted, table2/x-umx-true-labels"
    )
    with pytest.raises(InputError, match=r"1 row needs the truth.*choose other rows, or another"):
        rows_on(["table3/uncorrupted"], "musdb")
    with pytest.raises(InputError, match="musdb does not know"):
        bind(UNCORRUPTED, "musdb", MINI.data)
    assert list_targets("musdb") == 0
    listed = capsys.readouterr()
    assert not any(f"{label} " in listed.out for label in OF_TRUTH)
    assert listed.err.startswith(f"note   left out: {len(OF_TRUTH)} rows need the truth")


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_a_classifier_is_said_to_have_other_effects_where_its_scale_has_others(profile) -> None:
    scaled = [s for _, s in resolved_rows(["table1/noisy"], profile, "band").values()]
    (usual,) = (stage.outputs.classifier for stage in scaled)
    other = replace(usual.settings, effects=EffectRanges(reverb_wet=(0.0, 0.1)))
    assert describe(usual) == "Psi_noisy"
    assert describe(replace(usual, settings=other)) == "Psi_noisy (other effects)"


def test_reference_trainings_have_names_of_their_own() -> None:
    rows = resolved_rows(["table2/x-umx-*"], MINI, "band")
    names = {label.removeprefix("table2/x-umx-"): describe(s) for label, s in separators(rows)}
    assert names["uncorrupted"] == "X-UMX on uncorrupted"
    assert names["true-labels"] == "X-UMX on true labels"
    assert names["clean"] == "X-UMX on clean"
    assert len(set(names.values())) == len(names)


STEMS = CLASSES
TRUE_SHARES = ((0.6, 0.4, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.001, 0.0, 0.999, 0.0), (0.0,) * 4)
OUTPUTS = ((0.95, 0.9, 0.1, 0.0), (0.1, 0.2, 0.3, 0.1), (0.1, 0.1, 0.99, 0.2), (0.0, 0.8, 0.1, 0.1))


def small_store(root: Path, stage: Relabelled) -> Store:
    """A corrupted song of four stems, its truth, and a classifier's outputs."""
    store = Store(root)
    stems = stage.probabilities.stems
    with AudioSetWriter(store.folder(stems), RATE) as writer:
        for name in STEMS:
            writer.add("a", name, (name,), tone(200.0, 0.1))
    store.folder(stems.songs).mkdir(parents=True)
    truths = [StemTruth("a", *each) for each in zip(STEMS, [()] * 4, TRUE_SHARES, strict=True)]
    write_truth(store.folder(stems.songs) / "truth.csv", truths)
    store.folder(stage.probabilities).mkdir(parents=True)
    rows = [
        StemProbability("a", name, (name,), 0.1, values)
        for name, values in zip(STEMS, OUTPUTS, strict=True)
    ]
    write_probabilities(store.folder(stage.probabilities) / "probabilities.csv", rows)
    for finished in (stems, stems.songs, stage.probabilities):
        store.finish(finished, {"stems": len(STEMS)}, {})
    return store


def computed(stage: Stage, store: Store) -> dict:
    return stage.compute(Work(store, store.folder(stage), Progress(), None, ignore, 1))


@pytest.mark.parametrize("most_probable", [False, True])
def test_a_stem_that_passes_no_threshold_is_dropped_or_keeps_its_most_probable_class(
    most_probable: bool, tmp_path: Path
) -> None:
    stage = bind(replace(refined(psi_noisy), most_probable=most_probable), "band", MINI.data)
    store = small_store(tmp_path, stage)
    kept = {"vocals": "vocals+bass", "drums": "drums"}
    if most_probable:
        kept |= {"bass": "drums", "other": "bass"}
    trained = stage.clips(store).clips
    assert {clip.name: "+".join(clip.label) for clip in trained} == kept
    shown = label_rows(stage, store)
    assert {row["stem"]: row["label"] for row in shown} == dict.fromkeys(STEMS, "") | kept
    result = computed(stage, store)
    assert (result["multi"], result["dropped"]) == (1, 4 - len(kept))
    # By hand: vocals and drums are right. So is bass by the rule, and else that other, which holds
    # no class, is dropped.
    assert result["accuracy"]["exact"] == 0.75


def test_true_labels_are_those_of_the_manifest_and_an_empty_stem_is_left_out(
    tmp_path: Path,
) -> None:
    relabelled = bind(refined(psi_noisy), "band", MINI.data)
    store = small_store(tmp_path, relabelled)
    stage = TrulyLabelled(relabelled.probabilities.stems)
    labels = {clip.name: clip.label for clip in stage.clips(store).clips}
    # A thousandth of the energy is bleed, not a class.
    assert labels == {"vocals": ("vocals", "bass"), "bass": ("drums",), "drums": ("drums",)}
    assert computed(stage, store) == {"single": 2, "multi": 1, "dropped": 1}
    # Its sources can carry several labels, as refined ones.
    assert Separator(stage, MINI.scale.xumx).version == 2


def test_a_set_whose_truth_nobody_knows_cannot_be_truly_labelled(tmp_path: Path) -> None:
    songs = FolderSongs("sdxdb23", "train", False, RATE, "abc")
    stage = TrulyLabelled(Trimmed(songs))
    with pytest.raises(InputError, match="not known; choose --data band or multitrack"):
        computed(stage, Store(tmp_path))
    assert describe(stage) == "true labels of stems of sdxdb23 train songs"
