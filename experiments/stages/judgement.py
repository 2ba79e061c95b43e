"""What something says of the classes in each stem of a set: the base of the kinds that judge."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from experiments.integrity import damaged
from experiments.stages.stage import Stage
from experiments.stages.trimmed import Trimmed
from experiments.store import Store

if TYPE_CHECKING:
    from selfrefine.refining.probabilities import StemProbability


@dataclass(frozen=True)
class Judgement(Stage):
    """The probability of each class in each of `stems`, as a table in the stage's folder."""

    unit: ClassVar[str] = "stem"

    stems: Trimmed

    def relabellings(self) -> int:
        """As of a stem set, for labels that follow from the judgement."""
        raise NotImplementedError

    def trainings_from_start(self) -> int:
        """As of a stem set, for labels that follow from the judgement."""
        return 0

    def judged(self, store: Store) -> "list[StemProbability]":
        """A row a stem. Raises InputError for a table that is not of all stems."""
        from selfrefine.refining.probabilities import PROBABILITIES, read_probabilities

        folder = store.finished(self)
        rows = read_probabilities(folder / PROBABILITIES)
        stems = store.result(self).get("stems")
        found = len({(row.song, row.name) for row in rows})
        if not len(rows) == found == stems:
            what = f"it has {found} stems in {len(rows)} lines instead of {stems}"
            raise damaged(folder / PROBABILITIES, what, folder)
        return rows
