"""Stages in a reader's words."""

from dataclasses import replace

from experiments.data import NOISY, NOISY_DOMAIN, UNCORRUPTED
from experiments.registry import MOST_PROBABLE
from experiments.stages import (
    AdaptiveThresholds,
    BandSongs,
    Classifier,
    Coloured,
    Corrupted,
    DataSet,
    FolderSongs,
    OwnSongs,
    Probabilities,
    RecognitionOutputs,
    RecognitionScore,
    Relabelled,
    SeparationScore,
    Separator,
    Stage,
    StemSet,
    Thresholds,
    Trimmed,
    TrulyLabelled,
    Weighed,
    is_start,
    trained_seed,
)
from selfrefine.refining.starting import USUAL_TRAININGS
from selfrefine.scales import SCALES
from selfrefine.settings import XUMX, SeparatorSettings


def describe(stage: Stage) -> str:
    """A short name: "Psi_noisy", "X-UMX on w/ Psi_noisy at 0.9 (seed 1)"."""
    seed = trained_seed(stage)
    return without_seed(stage) + (f" (seed {seed})" if seed else "")


def without_seed(stage: Stage) -> str:
    match stage:
        case DataSet():
            return f"{stage.name} {stage.split}"
        case BandSongs():
            return f"band {stage.domain}, songs {stage.first}-{stage.first + stage.songs - 1}"
        case FolderSongs():
            return f"{stage.name} {stage.split} songs"
        case OwnSongs():
            return "own songs"
        case Corrupted():
            return f"{without_seed(stage.of)}, corrupted"
        case Trimmed():
            return f"stems of {without_seed(stage.of)}"
        case Coloured():
            return f"{without_seed(stage.first)} and of {without_seed(stage.second.of)}, coloured"
        case Classifier():
            return f"Psi_{training_name(stage)}{reading_name(stage)}"
        case Probabilities():
            return f"{without_seed(stage.by)} on {without_seed(stage.stems)}"
        case RecognitionOutputs():
            return f"{without_seed(stage.by)} on {without_seed(stage.stems)} and mixtures of them"
        case AdaptiveThresholds():
            songs = without_seed(stage.of.stems.of)
            return f"thresholds of {without_seed(stage.of.by)} chosen on {songs}"
        case RecognitionScore():
            own = "on own songs " if isinstance(stage.of.stems.of, OwnSongs) else ""
            return f"recognition {own}by {without_seed(stage.of.by)}"
        case Relabelled():
            at = threshold_name(stage.thresholds)
            return f"labels by {without_seed(stage.of.by)} at {at}{rule_name(stage)}"
        case Weighed():
            unsure = "" if stage.sure else ", unsure ones too"
            return f"labels by {without_seed(stage.of.by)}{unsure}"
        case TrulyLabelled():
            return f"true labels of {without_seed(stage.of)}"
        case Separator():
            network = "X-UMX" if isinstance(stage.settings.network, XUMX) else "Demucs"
            return f"{network} on {set_name(stage.train)}{schedule_name(stage.settings)}"
        case SeparationScore():
            own = "on own songs " if isinstance(stage.test, OwnSongs) else ""
            return f"SDR {own}of {without_seed(stage.separator)}"
    return type(stage).__name__


def threshold_name(thresholds: Thresholds | AdaptiveThresholds) -> str:
    if isinstance(thresholds, AdaptiveThresholds):
        return f"adaptive thresholds from {without_seed(thresholds.of.stems.of)}"
    low, high = min(thresholds), max(thresholds)
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"


def rule_name(stage: Relabelled) -> str:
    """What becomes of stems that pass no threshold, where it is not what the registry has."""
    if stage.most_probable == MOST_PROBABLE:
        return ""
    return " (most probable)" if stage.most_probable else " (drop)"


def reading_name(classifier: Classifier) -> str:
    """Of a classifier made under another reading of the paper than its scale's."""
    if is_start(classifier) or classifier.start is not None:
        return ""
    for scale in SCALES.values():
        usual = scale.classifier
        otherwise = replace(classifier.settings, effects=usual.effects)
        if otherwise == usual != classifier.settings:
            return " (other effects)"
    return rule_name(classifier.train) if isinstance(classifier.train, Relabelled) else ""


def schedule_name(settings: SeparatorSettings) -> str:
    """What is told of a separator's schedule beside its training data."""
    if settings.single_share == 1.0:
        return ", single-labelled only"
    return ", single-labelled first" if settings.single_share else ""


def training_name(classifier: Classifier) -> str:
    """What a classifier learnt from: clean, noisy, refined, refined twice …; band for the one that
    others start from, started, started twice … for those."""
    if is_start(classifier):
        return "band"
    if classifier.start is not None:
        trainings = started_trainings(classifier)
        return "started" if trainings == USUAL_TRAININGS else f"started{trainings}"
    refinements = 0
    train = classifier.train
    while isinstance(train, Relabelled):
        refinements += 1
        train = train.of.by.train
    if refinements == 0:
        return set_name(train)
    return "refined" + ("" if refinements == 1 else f"{refinements}")


def started_trainings(classifier: Classifier) -> int:
    """How many classifiers, one on the labels of the other, were trained on from the start."""
    trainings = 0
    while classifier.start is not None:
        assert isinstance(classifier.train, Weighed)
        classifier = classifier.train.of.by
        trainings += 1
    return trainings


def refining_iteration(stage: Stage) -> int | None:
    """How many classifiers in a row stand behind a stage, each trained on the labels of the one
    before: 1 for Psi_noisy and what is made of its outputs, 2 for Psi_refined …; 0 for what the
    noisy labels themselves made. None where no noisy labels were refined or could have been: clean
    data, test songs, and Psi_clean, which learnt from other songs than it relabels."""
    match stage:
        case Trimmed():
            return 0 if is_noisy(stage) else None
        case Classifier():
            before = refining_iteration(stage.train)
            return None if before is None else before + 1
        case Probabilities() | RecognitionOutputs():
            return refining_iteration(stage.by)
        case Weighed():
            return None
        case Relabelled() | AdaptiveThresholds() | RecognitionScore():
            return refining_iteration(stage.of)
        case Separator():
            return refining_iteration(stage.train)
        case SeparationScore():
            return refining_iteration(stage.separator)
    return None


def set_name(stems: StemSet) -> str:
    match stems:
        case Coloured():
            return "the band"
        case Relabelled() | Weighed():
            return without_seed(stems).replace("labels by", "w/")
        case TrulyLabelled():
            return "true labels"
    if is_noisy(stems):
        return "noisy"
    return "uncorrupted" if could_be_noisy(stems) else "clean"


def is_noisy(stems: Trimmed) -> bool:
    """Whether a stem set carries label noise: it was corrupted here, or is the real noisy set."""
    source = stems.of
    return isinstance(source, Corrupted) or (
        isinstance(source, DataSet | FolderSongs) and DataSet(source.name, source.split) == NOISY
    )


def could_be_noisy(stems: Trimmed) -> bool:
    """Whether a clean stem set is of the songs that the noisy set is made from."""
    match stems.of:
        case DataSet():
            return stems.of == UNCORRUPTED
        case BandSongs():
            return stems.of.domain == NOISY_DOMAIN
        case FolderSongs():
            return stems.of.tracks
    return False
