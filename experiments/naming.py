"""Stages in a reader's words."""

from experiments.stages import (
    BandSongs,
    Classifier,
    Corrupted,
    DataSet,
    FolderSongs,
    Probabilities,
    Relabelled,
    SeparationScore,
    Separator,
    Stage,
    Trimmed,
)
from selfrefine.settings import XUMX


def describe(stage: Stage) -> str:
    """A short name: "Psi_noisy", "X-UMX on noisy relabelled by Psi_noisy"."""
    match stage:
        case DataSet():
            return f"{stage.name} {stage.split}"
        case BandSongs():
            return f"band {stage.domain}, songs {stage.first}-{stage.first + stage.songs - 1}"
        case FolderSongs():
            return f"{stage.name} {stage.split} songs"
        case Corrupted():
            return f"{describe(stage.of)}, corrupted"
        case Trimmed():
            return f"stems of {describe(stage.of)}"
        case Classifier():
            return f"Psi_{training_name(stage)}"
        case Probabilities():
            return f"{describe(stage.by)} on {describe(stage.stems)}"
        case Relabelled():
            low, high = min(stage.thresholds), max(stage.thresholds)
            at = f"{low:g}" if low == high else f"{low:g}-{high:g}"
            return f"labels by {describe(stage.of.by)} at {at}"
        case Separator():
            network = "X-UMX" if isinstance(stage.settings.network, XUMX) else "Demucs"
            return f"{network} on {set_name(stage.train)}"
        case SeparationScore():
            return f"SDR of {describe(stage.separator)}"
    return type(stage).__name__


def training_name(classifier: Classifier) -> str:
    """What a classifier learnt from: clean, noisy, refined, refined twice …"""
    refinements = 0
    train = classifier.train
    while isinstance(train, Relabelled):
        refinements += 1
        train = train.of.by.train
    if refinements == 0:
        return "noisy" if is_noisy(train) else "clean"
    return "refined" + ("" if refinements == 1 else f"{refinements}")


def set_name(stems: Trimmed | Relabelled) -> str:
    if isinstance(stems, Relabelled):
        return describe(stems).replace("labels by", "w/")
    return "noisy" if is_noisy(stems) else "clean"


def is_noisy(stems: Trimmed) -> bool:
    """Whether a stem set carries label noise: it was corrupted here, or is the real noisy set."""
    source = stems.of
    return isinstance(source, Corrupted) or (
        isinstance(source, DataSet | FolderSongs) and source.name == "sdxdb23"
    )
