"""The classifiers that refining starts from, and how they are trained further.

A start is a classifier that was trained on songs with right labels. It judges the stems of a
collection that it was not trained on. Then it is trained further on these stems, in small steps,
under the labels that it found, and adapts to the collection's sound.
"""

from dataclasses import replace
from pathlib import Path

from selfrefine.errors import InputError
from selfrefine.settings import ClassifierSettings

SHIPPED = Path(__file__).parents[1] / "pretrained"

STEPS = 500
"""How many steps a further training has for `MANY_STEMS` stems or more; for fewer stems it is
shorter."""
MANY_STEMS = 60
LEAST_STEPS = 150
LEAST_STEMS = 8
"""Collections of fewer stems are judged by the start alone."""
USUAL_TRAININGS = 2
"""More trainings mend no more labels (docs/log.md)."""
RATE_SHARE = 0.25
"""The learning rate of a further training, relative to that of a training from random weights."""


def shipped_file(sample_rate: int) -> Path:
    """The path of the package's classifier for a sample rate in Hz, whether it exists or not."""
    return SHIPPED / f"band-{sample_rate}.pt"


def shipped_classifier(sample_rate: int) -> Path:
    """The file of the classifier that comes with this package, for a sample rate in Hz.

    Raises InputError where there is none for it.
    """
    if not shipped_file(sample_rate).exists():
        rates = sorted(int(each.stem.partition("-")[2]) for each in SHIPPED.glob("band-*.pt"))
        words = " and ".join(f"{rate} Hz" for rate in rates)
        raise InputError(
            f"--start band: no classifier of {sample_rate} Hz comes with this version, only of "
            f"{words}; give another profile, a file, or --start none"
        )
    return shipped_file(sample_rate)


def usual_trainings(stems: int) -> int:
    """How often a start is trained further for a collection of so many stems."""
    return USUAL_TRAININGS if stems >= LEAST_STEMS else 0


def training_on(settings: ClassifierSettings, stems: int | None) -> ClassifierSettings:
    """The settings of a further training of a start that has these `settings`.

    It has a few steps at a low learning rate. Its loss is the mean absolute error alone, because
    wrong labels mislead it less than cross-entropy. A collection of fewer than `MANY_STEMS` stems
    gets fewer steps; `stems` of None stands for a large one. A network whose own training is short
    gets a third of its steps at most.
    """
    share = 1.0 if stems is None else min(1.0, stems / MANY_STEMS)
    steps = max(LEAST_STEPS, round(STEPS * share))
    if settings.steps is not None:
        steps = min(steps, max(1, settings.steps // 3))
    return replace(
        settings,
        steps=steps,
        learning_rate=settings.learning_rate * RATE_SHARE,
        bce_share=0.0,
        final_rate=0.05,
    )
