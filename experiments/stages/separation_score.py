"""How well a separator separates (Tables 2, 3 and 5)."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from experiments.stages.separator import Separator
from experiments.stages.songs import Songs
from experiments.stages.stage import Result, Stage
from experiments.stages.training import WEIGHTS
from experiments.work import Cost, StepCostOf, Work
from selfrefine.classes import CLASSES
from selfrefine.settings import XUMX

if TYPE_CHECKING:
    import numpy as np

Tracks = dict[str, dict[str, float | None]]
"""SDR in dB by song and class; None where it cannot be measured."""


@dataclass(frozen=True)
class SeparationScore(Stage):
    """A separator's SDR on every song of a test set, and a few seconds of it to listen to."""

    on_gpu: ClassVar[bool] = True

    separator: Separator
    test: Songs

    @property
    def version(self) -> int:
        """2: a few seconds to listen to are kept. 3: X-UMX's Wiener filter sees the whole track."""
        return 3 if isinstance(self.separator.settings.network, XUMX) else 2

    def words(self) -> str:
        return f"SDR {self.test.tested_words()}of {self.separator.words()}"

    def refinements(self) -> int | None:
        return self.separator.refinements()

    def cost(self, step_cost_of: StepCostOf) -> Cost:
        heard = self.test.stem_seconds() / len(CLASSES)
        return self.separator.applied_cost(heard, step_cost_of)

    def compute(self, work: Work) -> Result:
        import numpy as np

        from selfrefine.metrics.sdr import median_over_tracks

        tracks = self.scored_tracks(work)
        table = np.array(
            [[np.nan if v is None else v for v in row.values()] for row in tracks.values()]
        )
        sdr = dict(zip(CLASSES, median_over_tracks(table).tolist(), strict=True))
        return {"sdr": sdr, "average": float(np.mean(list(sdr.values()))), "tracks": tracks}

    def scored_tracks(self, work: Work) -> Tracks:
        """Separates and scores every song. While a GPU separates one, a core scores the one
        before."""
        import numpy as np
        import torch

        from experiments.examples import SONGS, write_examples
        from selfrefine.clips.audio_set import by_song, open_audio_set
        from selfrefine.clips.song_signals import references_and_mixture
        from selfrefine.models.separator import build_separator, separate_song
        from selfrefine.models.weights import load_model
        from selfrefine.training.device import training_device

        device = training_device()
        settings = self.separator.settings
        weights = work.store.finished(self.separator) / WEIGHTS
        model = load_model(build_separator(settings), weights, device)
        songs = open_audio_set(work.store.finished(self.test))
        rate = songs.sample_rate
        grouped = by_song(songs)
        behind = 0 if device.type == "cpu" else 1
        pending: list[tuple[str, Future[np.ndarray]]] = []
        tracks: Tracks = {}

        def take_scores() -> None:
            song, scored = pending.pop(0)
            scores = scored.result()
            tracks[song] = {
                name: float(score) if np.isfinite(score) else None
                for name, score in zip(CLASSES, scores, strict=True)
            }
            if not np.isfinite(scores).any():
                work.progress.note(
                    f"{song} has no frame in which every source sounds; it is not scored"
                )
            work.progress.count(len(tracks), len(grouped))

        with ThreadPoolExecutor(1) as scoring:
            for number, (song, clips) in enumerate(grouped.items()):
                references, mixture = references_and_mixture(songs, clips)
                separated = separate_song(model, settings, torch.from_numpy(mixture).to(device))
                estimates = separated.cpu().numpy()
                held = np.array([any(clip.label == (name,) for clip in clips) for name in CLASSES])
                scored = scoring.submit(song_scores, references, estimates, held, rate)
                pending.append((song, scored))
                # Nobody's own songs leave their folder: their licences are not known.
                if number < SONGS and not self.test.private:
                    write_examples(work.folder, song, references, mixture, estimates, rate)
                while len(pending) > behind:
                    take_scores()
            while pending:
                take_scores()
        return tracks


def song_scores(
    references: "np.ndarray", estimates: "np.ndarray", held: "np.ndarray", rate: int
) -> "np.ndarray":
    """A song's SDR in dB, `(class,)`, of sources `(class, channel, sample)`. Only the classes that
    the song has, `held` `(class,)`, are scored, among themselves as in museval; others are NaN."""
    import numpy as np

    from selfrefine.metrics.sdr import frame_sdr, track_sdr

    scores = np.full(len(CLASSES), np.nan)
    scores[held] = track_sdr(frame_sdr(references[held], estimates[held], rate, rate))
    return scores
