"""Which validation songs trainings are watched with. Watching changes no result, so it is no part
of a stage."""

from experiments.data import bind
from experiments.profiles import DataScale
from experiments.stages.data_set import VALIDATION
from experiments.stages.songs import Songs
from experiments.stages.stage import Stage, closure
from experiments.stages.training import Training
from experiments.store import Store
from experiments.tracking.mode import wandb_mode
from selfrefine.errors import InputError
from selfrefine.progress import Note


def validation_songs(data: str, scale: DataScale, note: Note) -> Songs | None:
    """The songs that trainings are watched with. None where nobody watches, and, said so, for data
    without a validation split."""
    if wandb_mode() == "disabled":
        return None
    try:
        songs: Songs = bind(VALIDATION, data, scale)
    except InputError as error:
        note(f"note   trainings go unwatched: {error}")
        return None
    return songs


def watched_with(stage: Stage, songs: Songs | None) -> Stage | None:
    """What of the validation `songs` a stage is watched with; None where it trains nothing."""
    return stage.watched_with(songs) if songs is not None and isinstance(stage, Training) else None


def needed_to_watch(stages: list[Stage], songs: Songs | None, store: Store) -> list[Stage]:
    """What the store lacks to watch the trainings among `stages` that are still to run."""
    watched = [watched_with(stage, songs) for stage in stages if not store.done(stage)]
    needed = closure([stage for stage in watched if stage is not None])
    return [stage for stage in needed if not store.done(stage)]
