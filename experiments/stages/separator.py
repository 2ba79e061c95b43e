"""A separator (section 3.2)."""

from dataclasses import dataclass

from experiments.stages.songs import Songs
from experiments.stages.stage import Result, Stage
from experiments.stages.training import Training
from experiments.stages.trimmed import Trimmed
from experiments.work import Work
from selfrefine.settings import XUMX, SeparatorSettings


@dataclass(frozen=True)
class Separator(Training):
    """X-UMX or Hybrid Demucs, as its settings' network says."""

    settings: SeparatorSettings

    @property
    def version(self) -> int:
        """2 where sources can carry several labels: in version 1 the sum of their estimates was
        rounded to bf16."""
        drawn = self.settings.multi_chance > 0 and self.settings.single_share < 1
        return 2 if drawn and not isinstance(self.trained_on, Trimmed) else 1

    def words(self) -> str:
        network = "X-UMX" if isinstance(self.settings.network, XUMX) else "Demucs"
        data = self.trained_on.data_words()
        return f"{network} on {data}{self.schedule_words()}{self.loss_words()}"

    def schedule_words(self) -> str:
        if self.settings.single_share == 1.0:
            return ", single-labelled only"
        return ", single-labelled first" if self.settings.single_share else ""

    def loss_words(self) -> str:
        shares = " ".join(f"{share:.2g}" for share in self.settings.kept_shares)
        relative = "relative " if self.settings.kept_relative else ""
        return f", least {shares} of {relative}losses" if shares else ""

    def refinements(self) -> int | None:
        return self.trained_on.refinements()

    def watched_with(self, songs: Songs) -> Stage:
        return songs

    def compute(self, work: Work) -> Result:
        from experiments.trainings.watching import separation_measure
        from selfrefine.training.device import training_device
        from selfrefine.training.separator import train_separator

        stems = self.trained_on.clips(work.store)
        return self.train(
            work,
            stems,
            lambda place: train_separator(stems, self.settings, self.seed, place),
            lambda songs: separation_measure(songs, self.settings, training_device()),
        )
