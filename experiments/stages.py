"""Every thing that can be computed, as a value: a frozen dataclass of its settings and of the
stages it is made from.

Nothing here computes; `experiments.compute` does. Nothing here imports torch, so that planning and
finding that everything is done take no time. What does not change a result (workers, device,
logging) is no field. Raise `version` when a stage's computation changes.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, ClassVar

from selfrefine import settings as method

ADDED = {"added": True}
"""Metadata of a dataclass field that came after results were published. Its default means "as
before", and an identity leaves the field out while it holds that. Settings mark theirs alike."""


@dataclass(frozen=True)
class Stage:
    """Common base: `version` enters the identity, `unit` names what its progress counts. `on_gpu`
    says whether a stage computes on the GPU where there is one, `many_cores` whether its work can
    be shared among several cores."""

    unit: ClassVar[str] = "song"
    on_gpu: ClassVar[bool] = False
    many_cores: ClassVar[bool] = False

    @property
    def version(self) -> int:
        """Of what the stage computes. A class whose computation changes gives another, where it can
        only for the stages whose results change."""
        return 1


@dataclass(frozen=True)
class DataSet(Stage):
    """A data set by name, until a data choice (`experiments.data`) puts songs in its place."""

    name: str
    split: str


@dataclass(frozen=True)
class BandSongs(Stage):
    """Songs of the embedded band, kept track by track; a clip's label is its track's class."""

    many_cores: ClassVar[bool] = True

    domain: str
    first: int
    songs: int
    seconds: float
    sample_rate: int
    seed: int


@dataclass(frozen=True)
class FolderSongs(Stage):
    """Songs of a folder on this machine, as stems or as instrument tracks. The path is no part of
    the identity: the fingerprint of its files is."""

    name: str
    split: str
    tracks: bool
    sample_rate: int
    fingerprint: str


@dataclass(frozen=True)
class OwnSongs(Stage):
    """A user's own songs, of one or more folders, to test on. The identity is the fingerprint of
    their files, as in FolderSongs."""

    sample_rate: int
    fingerprint: str


Songs = DataSet | BandSongs | FolderSongs | OwnSongs


@dataclass(frozen=True)
class Corrupted(Stage):
    """Songs whose tracks are filed under wrong stems, with the truth beside them."""

    of: Songs
    noise: method.Corruption
    seed: int = 0


@dataclass(frozen=True)
class Trimmed(Stage):
    """A stem set: every stem of every song, silence removed, what training draws from."""

    of: "Songs | Corrupted"
    silence: method.SilenceRemoval = field(default_factory=method.SilenceRemoval)


@dataclass(frozen=True)
class Coloured(Stage):
    """Two stem sets in one, every stem twice: as it is, and through a random filter, so that a
    classifier does not take a set's own sound for the instrument's."""

    unit: ClassVar[str] = "stem"

    first: Trimmed
    second: Trimmed
    seed: int = 0


@dataclass(frozen=True)
class Classifier(Stage):
    """An instrument classifier Psi, trained from scratch, or on from the weights of `start`."""

    unit: ClassVar[str] = "step"
    on_gpu: ClassVar[bool] = True

    train: "StemSet"
    settings: method.ClassifierSettings = field(default_factory=method.ClassifierSettings)
    single_labelled_only: bool = False
    seed: int = 0
    start: "Classifier | None" = field(default=None, metadata=ADDED)


@dataclass(frozen=True)
class Probabilities(Stage):
    """A classifier's outputs for every stem of a set."""

    unit: ClassVar[str] = "stem"
    on_gpu: ClassVar[bool] = True

    stems: Trimmed
    by: Classifier
    windows_per_segment: int = 4


@dataclass(frozen=True)
class RecognitionOutputs(Stage):
    """A classifier's outputs where every label is right: on the single-labelled stems of a split,
    and on `mixtures` random mixtures of them."""

    unit: ClassVar[str] = "item"
    on_gpu: ClassVar[bool] = True

    stems: Trimmed
    by: Classifier
    mixtures: int = 3941
    windows_per_segment: int = 4
    seed: int = 0


@dataclass(frozen=True)
class AdaptiveThresholds(Stage):
    """Per class the threshold of the highest F1 on a split, averaged over its single-labelled stems
    and its random mixtures."""

    unit: ClassVar[str] = "class"

    of: RecognitionOutputs


Thresholds = tuple[float, float, float, float]
"""Per class, in CLASSES' order."""


@dataclass(frozen=True)
class RecognitionScore(Stage):
    """Accuracy, F1, precision and recall of a classifier's outputs, per class and averaged."""

    unit: ClassVar[str] = "class"

    of: RecognitionOutputs
    thresholds: Thresholds = (0.9, 0.9, 0.9, 0.9)


@dataclass(frozen=True)
class Relabelled(Stage):
    """The stem set under the label sets that the probabilities and thresholds give. Where no class
    passes, the stem is dropped, or with `most_probable` keeps its most probable class."""

    unit: ClassVar[str] = "stem"

    of: Probabilities
    thresholds: Thresholds | AdaptiveThresholds = (0.9, 0.9, 0.9, 0.9)
    most_probable: bool = field(default=False, metadata=ADDED)


@dataclass(frozen=True)
class Weighed(Stage):
    """The stem set under the label sets of the highest posterior, given the mean of a classifier's
    outputs and of those that the sets behind `before` were weighed by. The given label stands
    where, of the two, the other is right with less than the probability `sure`."""

    unit: ClassVar[str] = "stem"

    of: Probabilities
    before: "Weighed | None" = None
    sure: float = 0.0


@dataclass(frozen=True)
class TrulyLabelled(Stage):
    """The stems of a corrupted set under their true label sets; a stem that holds no class is left
    out."""

    unit: ClassVar[str] = "stem"

    of: Trimmed


StemSet = Trimmed | Coloured | Relabelled | Weighed | TrulyLabelled


@dataclass(frozen=True)
class Separator(Stage):
    """A separator trained on a stem set."""

    unit: ClassVar[str] = "step"
    on_gpu: ClassVar[bool] = True

    train: StemSet
    settings: method.SeparatorSettings
    seed: int = 0

    @property
    def version(self) -> int:
        """2 where sources can carry several labels: in version 1 the sum of their estimates was
        rounded to bf16."""
        drawn = self.settings.multi_chance > 0 and self.settings.single_share < 1
        return 2 if drawn and not isinstance(self.train, Trimmed) else 1


@dataclass(frozen=True)
class SeparationScore(Stage):
    """A separator's SDR on every song of a test set, and a few seconds of it to listen to."""

    on_gpu: ClassVar[bool] = True

    separator: Separator
    test: Songs

    @property
    def version(self) -> int:
        """2: a few seconds to listen to are kept. 3: X-UMX's Wiener filter sees the whole track."""
        return 3 if isinstance(self.separator.settings.network, method.XUMX) else 2


def inputs(stage: Stage) -> list[Stage]:
    """The stages that `stage` is directly made from, in its fields' order."""
    values = (getattr(stage, entry.name) for entry in dataclasses.fields(stage))
    return [value for value in values if isinstance(value, Stage)]


def closure(stages: list[Stage]) -> list[Stage]:
    """All stages needed, each once, every one after what it is made from."""
    found: dict[Stage, None] = {}

    def visit(stage: Stage) -> None:
        if stage not in found:
            for needed in inputs(stage):
                visit(needed)
            found[stage] = None

    for stage in stages:
        visit(stage)
    return list(found)


def rebuild(stage: Any, change: Callable[[Any], Any]) -> Any:
    """`stage` with `change` applied to every dataclass in it, innermost first."""
    parts = {
        entry.name: rebuild(value, change)
        for entry in dataclasses.fields(stage)
        if dataclasses.is_dataclass(value := getattr(stage, entry.name))
    }
    return change(replace(stage, **parts) if parts else stage)


def with_seed(stage: Any, seed: int) -> Any:
    """The same stage with every training behind it run from `seed`; data and tests stay, and so
    does the classifier that others start from: it is one file, whatever they draw."""

    def change(value: Any) -> Any:
        trained = isinstance(value, Classifier | Separator)
        return replace(value, seed=seed) if trained and not is_start(value) else value

    return rebuild(stage, change)


def is_start(stage: Stage) -> bool:
    """Whether a classifier is the one that others start from, which learnt from the band's own
    songs."""
    return isinstance(stage, Classifier) and isinstance(stage.train, Coloured)


def tested_on(stage: Any, test: Songs, songs: Songs) -> Any:
    """The same stage with `songs` in the place of its `test` songs; what a training is made from
    stays, even where test songs chose its thresholds."""
    if stage == test:
        return songs
    if isinstance(stage, Classifier | Separator):
        return stage
    parts = {
        entry.name: tested_on(value, test, songs)
        for entry in dataclasses.fields(stage)
        if isinstance(value := getattr(stage, entry.name), Stage)
    }
    return replace(stage, **parts) if parts else stage


def trained_seed(stage: Stage) -> int:
    """The seed that the trainings behind a stage ran from; 0 where nothing was trained."""
    if isinstance(stage, Classifier | Separator):
        return stage.seed
    return max((trained_seed(needed) for needed in inputs(stage)), default=0)


def expression(value: Any) -> Any:
    """`value` as JSON: a dataclass becomes its name, its version when a stage, and its fields, but
    for added ones that hold their default."""
    if not dataclasses.is_dataclass(value):
        return list(value) if isinstance(value, tuple) else value
    head: dict[str, Any] = {"is": type(value).__name__}
    if isinstance(value, Stage):
        head["version"] = value.version
    fields = [entry for entry in dataclasses.fields(value) if not as_before(value, entry)]
    return head | {entry.name: expression(getattr(value, entry.name)) for entry in fields}


def as_before(value: Any, entry: "dataclasses.Field[Any]") -> bool:
    """Whether a field was added and holds its default."""
    if not entry.metadata.get("added"):
        return False
    factory = entry.default_factory
    default = entry.default if factory is dataclasses.MISSING else factory()
    return bool(getattr(value, entry.name) == default)


@cache
def identity(stage: Stage) -> str:
    """Twelve hexadecimal digits that name the stage's whole resolved expression."""
    text = json.dumps(expression(stage), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def kind(stage: Stage) -> str:
    """The class name in lower case with dashes: a folder of the store, a W&B job type."""
    name = type(stage).__name__
    return "".join("-" + c.lower() if c.isupper() else c for c in name).lstrip("-")


def own_settings(stage: Stage) -> Iterator[tuple[str, Any]]:
    """The fields that are not stages."""
    for entry in dataclasses.fields(stage):
        value = getattr(stage, entry.name)
        if not isinstance(value, Stage):
            yield entry.name, value
