"""`python -m experiments pretrained`: trains the classifier from which refining starts, and puts it
into the package with its card."""

import json
import os
from pathlib import Path
from typing import Any

from experiments.commands import run
from experiments.profiles import profile_named
from experiments.stages.band_songs import BandSongs
from experiments.stages.classifier import Classifier
from experiments.stages.coloured import Coloured
from experiments.stages.own_songs import VARIABLE
from experiments.stages.recognition_outputs import MULTI, SINGLE
from experiments.stages.recognition_score import RecognitionScore
from experiments.stages.stage import expression, identity
from experiments.store import Store
from experiments.targets import resolved_rows
from selfrefine.errors import InputError
from selfrefine.files.atomic import write_text
from selfrefine.scales import SMOKE

ROW = "started-recognition/band"
SONGS = {"band": "the band's test songs (domain a)", "folder": "real songs"}
WORDS = {SINGLE: "single stems", MULTI: "random mixtures of them"}


def ship(profile_name: str, store_path: Path, workers: int | None, folder: Path | None) -> int:
    """Runs the missing stages of the start classifier and its test. Writes `band-RATE.pt` and its
    card into `folder`, or into the package.

    Raises InputError for the smoke profile without a `folder`: its results mean nothing, so the
    package must not get them.
    """
    from selfrefine.models.model_file import save_classifier
    from selfrefine.refining.starting import shipped_file

    if folder is None and profile_name == SMOKE.name:
        raise InputError(f"{SMOKE.name} is {SMOKE.meaning}; name a folder for it with --to")
    tests = ["band", "folder"] if os.environ.get(VARIABLE) else ["band"]
    code = run([ROW], profile_name, "band", store_path, range(1), workers, tests[-1])
    if code:
        return code
    store = Store(store_path)
    profile = profile_named(profile_name)
    scores = {test: resolved_rows([ROW], profile, "band", test)[ROW][1] for test in tests}
    tested = scores["band"]
    assert isinstance(tested, RecognitionScore)
    start = tested.outputs.classifier
    path = shipped_file(start.settings.sample_rate)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / path.name
    weights = store.finished(start) / "model.pt"
    save_classifier(path, weights, start.settings, profile.scale.threshold)
    measured = {test: store.result(score) for test, score in scores.items()}
    write_text(path.with_suffix(".md"), card(start, store.record(start), measured))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; its card is beside it")
    return 0


def card(start: Classifier, record: dict[str, Any], measured: dict[str, dict[str, Any]]) -> str:
    """A description of the file as Markdown: its purpose, its origin, and its recognition scores on
    each test's songs."""
    train, settings, run = start.trained_on, start.settings, record["run"]
    assert isinstance(train, Coloured)
    songs = [
        each for each in (train.first.songs, train.second.songs) if isinstance(each, BandSongs)
    ]
    sets = [
        f"domain {each.domain}, songs {each.first} to {each.first + each.songs - 1}, "
        f"{each.seconds:g} s each, seed {each.seed}"
        for each in songs
    ]
    scores = "\n".join(
        f"| {SONGS[songs]} | {words} | {score_cells(score[test])} |"
        for songs, score in measured.items()
        for test, words in WORDS.items()
    )
    threshold = measured["band"]["thresholds"][0]
    return f"""# The classifier that `selfrefine refine` starts from, {settings.sample_rate} Hz

What it does: the probability of vocals, bass, drums and other in {settings.segment} samples of
stereo sound. `python -m experiments pretrained` makes it again, from the seed alone.

- Data: songs of the embedded band under their true labels, made by this project:
  {sets[0]};
  {sets[1]}.
  Every stem is there as it is and once through a random filter. No other sound was used.
- Training: {settings.steps} steps of {settings.batch} random mixtures, seed {start.seed}.
- Identity in the registry: `{identity(start)}`.
- Made by commit `{run["commit"]}` on {run["device"]} in {run["seconds"] / 60:.0f} min.
- Weights are numbers only (`torch.load(..., weights_only=True)`). They are under this project's
  licence.

Recognition at the threshold {threshold:g}:

| songs | test | accuracy (%) | F1 | precision | recall |
|---|---|---|---|---|---|
{scores}

What refining from it does to the labels of real songs: `results/labels`, and README, "Your own
stems".

Every setting:

    {json.dumps(expression(settings))}
"""


def score_cells(score: dict[str, dict[str, float]]) -> str:
    """Averages over classes: accuracy in per cent, F1, precision, recall."""
    shares = " | ".join(f"{score[name]['avg']:.3f}" for name in ("f1", "precision", "recall"))
    return f"{100 * score['accuracy']['avg']:.1f} | {shares}"
