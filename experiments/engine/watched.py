"""Chooses the validation songs with which trainings are watched. Watching changes no result, so it
is not part of a stage."""

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
    """The validation songs with which trainings are watched.

    None if tracking is disabled, and, with a note, for data whose validation songs cannot be used.
    """
    if wandb_mode() == "disabled":
        return None
    try:
        songs: Songs = bind(VALIDATION, data, scale)
    except InputError as error:
        note(f"note   trainings go unwatched: {error}")
        return None
    return songs


def watched_with(stage: Stage, songs: Songs | None) -> Stage | None:
    """The stage that holds the validation audio for watching `stage`: `songs` or their stems. None
    if `stage` is not a training or `songs` is None."""
    return stage.watched_with(songs) if songs is not None and isinstance(stage, Training) else None


def needed_to_watch(stages: list[Stage], songs: Songs | None, store: Store) -> list[Stage]:
    """The stages that are missing in the store for watching the unfinished trainings among
    `stages`."""
    watched = [watched_with(stage, songs) for stage in stages if not store.done(stage)]
    needed = closure([stage for stage in watched if stage is not None])
    return [stage for stage in needed if not store.done(stage)]
