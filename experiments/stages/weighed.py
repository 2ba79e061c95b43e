"""Label sets of the highest posterior: our way of relabelling, from a start."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from experiments.stages.probabilities import Probabilities
from experiments.stages.relabelling import Relabelling
from experiments.stages.stage import Result
from experiments.store import Store
from experiments.work import Work
from selfrefine.classes import Labels

if TYPE_CHECKING:
    from selfrefine.clips.trimming import Key
    from selfrefine.refining.decisions import Verdict
    from selfrefine.refining.probabilities import StemProbability


@dataclass(frozen=True)
class Weighed(Relabelling):
    """Every stem under the label set of the highest posterior, given the mean of a classifier's
    outputs and of those that the sets behind `before` were weighed by. The given label stands
    where, of the two, the other is right with less than the probability `sure`."""

    probabilities: Probabilities
    before: "Weighed | None" = None
    sure: float = 0.0

    def words(self) -> str:
        unsure = "" if self.sure else ", unsure ones too"
        return f"labels by {self.probabilities.classifier.words()}{unsure}"

    def relabelled_word(self) -> str:
        return "weighed"

    def judged(self, store: Store) -> "list[StemProbability]":
        """The mean of what every classifier behind the stage says of each stem."""
        from selfrefine.refining.probabilities import mean_probabilities

        judged = []
        link: Weighed | None = self
        while link is not None:
            judged.append(link.probabilities.judged(store))
            link = link.before
        return mean_probabilities(judged)

    def verdicts(self, store: Store) -> "dict[Key, Verdict]":
        """For every stem the label set that is found, how sure it is, and the one that stands."""
        from selfrefine.refining.decisions import verdicts
        from selfrefine.refining.evidence import weigh, weighing_of

        rows = self.judged(store)
        return verdicts(rows, weigh(rows, weighing_of(self.before is not None)), self.sure)

    def labels(self, store: Store) -> Labels:
        return {key: found.refined for key, found in self.verdicts(store).items()}

    def compute(self, work: Work) -> Result:
        from selfrefine.refining.decisions import reliability

        result = super().compute(work)
        truth = self.probabilities.stems.truth(work.store)
        if truth is not None:
            groups = reliability(self.verdicts(work.store), truth)
            result["reliability"] = [asdict(group) for group in groups]
        return result
