"""Where studies are kept: an SQLite file beside the results unless another storage is named."""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalRedisBackend
from optuna.trial import FrozenTrial, TrialState

from selfrefine.errors import InputError
from sweeps.studies import Bound

VERSION = "registry"
"""The user attribute that holds `Bound.version`."""

HEARTBEAT_SECONDS = 20
GRACE_SECONDS = 60
"""A trial whose worker was silent for so long is taken up again, by whoever asks next."""
MOST_RETRIES = 3

warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed")
optuna.logging.set_verbosity(optuna.logging.ERROR)


def default_url(store_root: Path) -> str:
    return f"sqlite:///{store_root / 'sweeps.db'}"


def queue_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queues a failed trial's values once more, but for what failed too often."""
    retries = trial.user_attrs.get("retries", 0) + 1
    if retries <= MOST_RETRIES and trial.params:
        study.enqueue_trial(trial.params, user_attrs={"retries": retries})


def open_storage(url: str) -> BaseStorage:
    """From an SQLAlchemy or redis URL, or the path of a journal file (`journal:PATH`).

    Raises InputError when it cannot be reached.
    """
    with reachable(url):
        if url.startswith("journal:"):
            path = Path(url.removeprefix("journal:"))
            path.parent.mkdir(parents=True, exist_ok=True)
            return JournalStorage(JournalFileBackend(str(path)))
        if url.startswith("redis"):
            return JournalStorage(JournalRedisBackend(url))
        try:
            return database(url)
        except (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.OperationalError):
            # Two workers who make the tables at once: the later one finds them a moment later.
            time.sleep(1.0)
            return database(url)


def database(url: str) -> RDBStorage:
    waiting = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    return RDBStorage(
        url,
        engine_kwargs=waiting,
        heartbeat_interval=HEARTBEAT_SECONDS,
        grace_period=GRACE_SECONDS,
        heartbeat_stale_trial_callback=queue_again,
    )


@contextmanager
def reachable(url: str) -> Iterator[None]:
    """Turns what a storage raises when it cannot be reached into one InputError."""
    try:
        yield
    except InputError:
        raise
    except (
        sqlalchemy.exc.SQLAlchemyError,
        optuna.exceptions.StorageInternalError,
        ImportError,
        OSError,
        ValueError,
        RuntimeError,
    ) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()
        raise InputError(
            f"{url}: the studies' storage cannot be used ({reason[0] if reason else error!r}); "
            "name another with --storage: an SQLAlchemy URL, redis://HOST, or journal:FILE"
        ) from error


def open_study(bound: Bound, url: str) -> optuna.Study:
    """The study, made when the storage has none of its name. Raises InputError when it was made
    for another version of the registry."""
    storage = open_storage(url)
    with reachable(url):
        study = optuna.create_study(
            storage=storage,
            study_name=bound.label,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
            load_if_exists=True,
        )
        if VERSION not in study.user_attrs:
            for name, value in description(bound).items():
                study.set_user_attr(name, value)
        refuse_other_version(study, bound, url)
    return study


def existing_study(bound: Bound, url: str) -> optuna.Study:
    """The study with at least one completed trial. Raises InputError when there is none such."""
    storage = open_storage(url)
    with reachable(url):
        names = optuna.get_all_study_names(storage)
        if bound.label not in names:
            raise InputError(
                f"{url} holds no study {bound.label!r}; run it first: "
                f"python -m sweeps run {bound.study.name}"
            )
        study = optuna.load_study(storage=storage, study_name=bound.label)
        refuse_other_version(study, bound, url)
        states = [trial.state for trial in study.get_trials(deepcopy=False)]
    if TrialState.COMPLETE not in states:
        errors = [each.user_attrs["error"] for each in study.trials if "error" in each.user_attrs]
        why = f"; the last one failed: {errors[-1]}" if errors else ""
        raise InputError(f"{bound.label}: none of {len(states)} trials is complete{why}")
    return study


def description(bound: Bound) -> dict[str, Any]:
    """What optuna-dashboard shows of a study; the version comes last, for it says that the rest
    is there."""
    return {
        "row": bound.study.row,
        "objective": bound.study.judged_by.meaning,
        "profile": bound.profile.name,
        "data": bound.data,
        VERSION: bound.version(),
    }


def refuse_other_version(study: optuna.Study, bound: Bound, url: str) -> None:
    made_for = study.user_attrs.get(VERSION)
    if made_for != bound.version():
        raise InputError(
            f"{bound.label}: made for version {made_for} of the registry, data or ranges, which "
            f"are now {bound.version()}; its trials do not compare. Name another --storage, or "
            f"delete it: optuna delete-study --storage {url} --study-name '{bound.label}'"
        )
