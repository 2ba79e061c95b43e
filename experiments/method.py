"""The paper's method and ours as values: stem sets, classifiers, refined labels, scores.

Everything is at the paper's scale and with the paper's data sets, as in the registry, whose rows
are made of these.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from experiments.stages.adaptive_thresholds import AdaptiveThresholds
from experiments.stages.classifier import Classifier
from experiments.stages.coloured import Coloured
from experiments.stages.data_set import CLEAN, NOISY, START, TEST, UNCORRUPTED
from experiments.stages.probabilities import Probabilities
from experiments.stages.recognition_outputs import PAPER_THRESHOLDS, RecognitionOutputs, Thresholds
from experiments.stages.recognition_score import RecognitionScore
from experiments.stages.relabelled import MOST_PROBABLE, Relabelled
from experiments.stages.separation_score import SeparationScore
from experiments.stages.separator import Separator
from experiments.stages.stage import Stage, rebuild
from experiments.stages.stem_set import StemSet
from experiments.stages.trimmed import Trimmed
from experiments.stages.truly_labelled import TrulyLabelled
from experiments.stages.weighed import Weighed
from selfrefine import settings
from selfrefine.refining.loop import refining_loop
from selfrefine.scales import MINI, PAPER_THRESHOLD
from selfrefine.settings import (
    LIGHTER_EFFECTS,
    SURE,
    EffectRanges,
)

clean = Trimmed(CLEAN)
noisy = Trimmed(NOISY)
as_given: StemSet = noisy
"""The noisy stems under the labels that refining begins with."""
uncorrupted = Trimmed(UNCORRUPTED)
truly_labelled = TrulyLabelled(noisy)

EFFECTS = MINI.classifier.effects
OTHER_EFFECTS = EffectRanges() if EFFECTS == LIGHTER_EFFECTS else LIGHTER_EFFECTS
"""The effects of random mixing that mini has, and those of the other strength."""


def judged_by(psi: Classifier) -> Probabilities:
    """The judgement of the noisy stems by a classifier: always of the original stems."""
    return Probabilities(noisy, psi)


def refined(psi: Classifier, threshold: float = PAPER_THRESHOLD) -> Relabelled:
    """The noisy stems as relabelled by a classifier at one threshold."""
    return Relabelled(judged_by(psi), (threshold,) * 4, MOST_PROBABLE)


def paper_classifiers(count: int) -> tuple[Classifier, ...]:
    """The classifier of each self-refining iteration. The first is trained on the noisy labels,
    each further one on the single-labelled stems that the one before it refined."""
    iterations = refining_loop(
        as_given,
        lambda labels, number: Classifier(labels, single_labelled_only=number > 1),
        judged_by,
        lambda judged: Relabelled(judged[-1], PAPER_THRESHOLDS, MOST_PROBABLE),
        count,
    )
    return tuple(psi for _, psi, _, _ in iterations)


psi_clean = Classifier(clean)
ITERATIONS = paper_classifiers(5)
"""The first self-refining iteration is at index 0."""
psi_noisy, psi_refined = ITERATIONS[:2]


psi_band = Classifier(Coloured(Trimmed(START[0]), Trimmed(START[1])))
"""The classifier that ours start from, which comes with the package. It learns from the band's own
songs, whatever the data, under their true labels."""


def weighed(judged: Sequence[Probabilities]) -> Weighed:
    """The noisy stems as weighed by all classifiers that judged them."""
    labels = Weighed(judged[0])
    for probabilities in judged[1:]:
        labels = Weighed(probabilities, labels)
    return labels


def started(trainings: int) -> Weighed:
    """The noisy stems as weighed by psi_band and by so many classifiers trained on from it, each
    under the labels of the one before, as `selfrefine refine` does."""
    *_, (_, _, judged, _) = refining_loop(
        as_given,
        lambda labels, number: Classifier(labels, single_labelled_only=True, start=psi_band),
        judged_by,
        weighed,
        trainings,
        start=psi_band,
    )
    return weighed(judged)


def that_stands(labels: Weighed) -> Weighed:
    """The same labels, but the given one where a found one is not sure enough."""
    return replace(labels, sure=SURE)


psi_started = started(2).probabilities.classifier
"""The classifier of the second training."""


def outputs(psi: Classifier, split: Trimmed) -> RecognitionOutputs:
    return RecognitionOutputs(split, psi)


def recognised_by(psi: Classifier, thresholds: Thresholds = PAPER_THRESHOLDS) -> RecognitionScore:
    return RecognitionScore(outputs(psi, Trimmed(TEST)), thresholds)


def adaptively_refined(psi: Classifier, split: Trimmed) -> Relabelled:
    """The noisy stems relabelled at the thresholds with the highest F1 on a split."""
    thresholds = AdaptiveThresholds(outputs(psi, split))
    return Relabelled(judged_by(psi), thresholds, MOST_PROBABLE)


def score(separator: settings.SeparatorSettings, train: StemSet) -> SeparationScore:
    return SeparationScore(Separator(train, separator), TEST)


def with_refining(stage: Stage, **values: Any) -> Any:
    """`stage` with fields of every refinement behind it replaced."""

    def change(part: Any) -> Any:
        return replace(part, **values) if isinstance(part, Relabelled) else part

    return rebuild(stage, change)


def with_effects(stage: Stage, effects: EffectRanges) -> Any:
    """`stage` with the effects of every classifier behind it replaced."""

    def change(part: Any) -> Any:
        return (
            replace(part, effects=effects)
            if isinstance(part, settings.ClassifierSettings)
            else part
        )

    return rebuild(stage, change)
