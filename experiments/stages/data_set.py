"""A data set by name: what rows are written with, until a choice of data gives it songs."""

from dataclasses import dataclass

from experiments.stages.songs import Songs
from experiments.stages.stage import Result
from experiments.work import Cost, StepCostOf, Work
from selfrefine.errors import InputError


@dataclass(frozen=True)
class DataSet(Songs):
    """A split of a data set. `experiments.data.bind` puts songs in its place."""

    name: str
    split: str

    def words(self) -> str:
        return f"{self.name} {self.split}"

    def stem_seconds(self) -> float:
        return 0.0

    def is_noisy(self) -> bool:
        return self == NOISY

    def is_uncorrupted(self) -> bool:
        return self == UNCORRUPTED

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        return Cost(0.0)

    def compute(self, work: Work) -> Result:
        raise InputError(f"{self.words()} stands for data; choose it with --data")


CLEAN = DataSet("musdb18", "train")
VALIDATION = DataSet("musdb18", "validation")
TEST = DataSet("musdb18", "test")
NOISY = DataSet("sdxdb23", "train")
UNCORRUPTED = DataSet("sdxdb23", "uncorrupted")
"""The songs of the noisy set before their labels went wrong."""
START = (DataSet("band", "a"), DataSet("band", "b"))
"""Songs of the band that no other stage is made from: a classifier that others start from must not
know what it judges."""
