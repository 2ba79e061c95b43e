"""Weighed labels of which the doubtful ones are not trusted."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.stages.unevenly_trusted import UnevenlyTrusted
from experiments.store import Store
from selfrefine.classes import Labels

if TYPE_CHECKING:
    from selfrefine.clips.audio_set import AudioSet
    from selfrefine.clips.trimming import Key


@dataclass(frozen=True)
class Doubted(UnevenlyTrusted):
    """`labels`, of which those are doubtful whose label set is right with less than the probability
    `sure`.

    A doubtful stem has the given and the proposed classes together. It is `heard` in mixtures, or
    left out. With `compared` it has a loss, as a multi-labelled stem has, else none.

    That a doubtful label gives no loss rather than a wrong one follows the loss masking of Fonseca
    et al., arXiv 2005.00878, who do it for missing labels of sound events.
    """

    sure: float
    heard: bool
    compared: bool

    def words(self) -> str:
        how = "left out"
        if self.heard:
            how = "merged" if self.compared else "without loss"
        return f"{self.labels.words()}, doubtful ones {how}"

    def doubtful_and_sets(self, store: Store) -> "tuple[set[Key], Labels]":
        """The doubtful stems by song and name, and the label set of every stem. That of a doubtful
        one has all that it may hold, or nothing where it is left out."""
        from selfrefine.classes import CLASSES

        given = {(row.song, row.name): row.given for row in self.labels.judged(store)}
        doubtful: set[Key] = set()
        sets: Labels = {}
        for key, found in self.labels.verdicts(store).items():
            sets[key] = found.refined
            if found.refined != found.proposed or found.confidence < self.sure:
                doubtful.add(key)
                either = {*given[key], *found.proposed}
                both = tuple(name for name in CLASSES if name in either)
                sets[key] = both if self.heard else ()
        return doubtful, sets

    def clips(self, store: Store) -> "AudioSet":
        from dataclasses import replace

        from selfrefine.clips.audio_set import with_labels

        doubtful, sets = self.doubtful_and_sets(store)
        stems = with_labels(self.labels.probabilities.stems.clips(store), sets)
        return stems if self.compared else replace(stems, without_loss=frozenset(doubtful))

    def label_sets(self, store: Store) -> Labels:
        return self.doubtful_and_sets(store)[1]
