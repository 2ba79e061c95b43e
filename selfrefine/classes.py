"""The four classes of music source separation, and label sets of them.

A label set is a tuple of classes in the order of `CLASSES`; a stem with an empty one is dropped.
"""

from collections.abc import Iterable

CLASSES: tuple[str, ...] = ("vocals", "bass", "drums", "other")
"""The classes in the order of the paper's tables."""

LabelSet = tuple[str, ...]

Labels = dict[tuple[str, str], LabelSet]
"""Label set by (song, stem)."""


def label_words(label: Iterable[str]) -> str:
    """A label set as text, "bass+drums"; "" for the empty one."""
    return "+".join(label)


def label_from_words(words: str) -> LabelSet:
    """The label set that `label_words` wrote, in its order; "" is the empty one."""
    return tuple(words.split("+")) if words else ()


def label_set_of(words: str) -> LabelSet | None:
    """The label set that a person or a folder's name gives as `bass` or `Drums + bass`, in CLASSES'
    order; "" is the empty one. Returns None where one of the words is no class."""
    parts = [part.strip() for part in label_from_words(words.lower())]
    if not all(part in CLASSES for part in parts):
        return None
    return tuple(name for name in CLASSES if name in parts)


def label_rank(label: LabelSet) -> tuple[int, ...]:
    """The key by which label sets are sorted: small ones first, then by their classes in CLASSES'
    order."""
    return (len(label), *(CLASSES.index(name) for name in label))
