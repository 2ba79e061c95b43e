"""The storage of studies: an SQLite file in the store of results, unless another one is named."""

import fcntl
import json
import math
import os
import shlex
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

import optuna
import sqlalchemy
import sqlalchemy.exc
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalRedisBackend
from optuna.trial import TrialState

from selfrefine.errors import InputError
from sweeps.studies import Bound
from sweeps.workers import failure_reason

VERSION = "registry"
"""The user attribute that holds `Bound.version`."""

PACKAGES = {
    "psycopg": '"psycopg[binary]"',
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
}
"""Packages whose name differs from their module's, by module, quoted for a shell."""

FAILURES = (
    sqlalchemy.exc.SQLAlchemyError,
    optuna.exceptions.StorageInternalError,
    OSError,
    json.JSONDecodeError,
)
"""Errors that a storage can raise at any time."""
OPENING = (Exception,)
"""Errors while a storage is opened and read for the first time: no driver, an old schema, a file of
another kind. Optuna has no error of its own for a damaged file; it can raise any."""

warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
optuna.logging.set_verbosity(optuna.logging.ERROR)


def default_url(store_root: Path) -> str:
    return sqlite_url(store_root / "sweeps.db")


def sqlite_url(path: Path) -> str:
    """The SQLAlchemy URL of an SQLite file, whose path may hold any character."""
    name, query = os.fsencode(path), {}
    try:
        database = name.decode()
    except UnicodeDecodeError:
        # SQLite takes a name that is not UTF-8 from a `file:` URI alone.
        database, query = f"file:{quote(name)}", {"uri": "true"}
    return str(sqlalchemy.URL.create("sqlite", database=database, query=query))


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite database, or None for a URL of another kind."""
    parts = sqlalchemy.make_url(url)
    if parts.get_backend_name() != "sqlite" or not parts.database:
        return None
    if "uri" not in parts.query:
        return Path(parts.database)
    return Path(os.fsdecode(unquote_to_bytes(urlsplit(parts.database).path)))


def open_storage(url: str) -> BaseStorage:
    """Opens the storage at an SQLAlchemy URL, a redis URL, or a journal file (`journal:PATH`).

    Raises InputError when it cannot be reached, and for a database in memory, which would lose the
    studies.
    """
    with if_reachable(url, OPENING):
        if (path := journal_file(url)) is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            return JournalStorage(JournalFileBackend(str(path)))
        if url.startswith("redis"):
            return JournalStorage(JournalRedisBackend(url))
        refuse_memory(url)
        waiting = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
        # Optuna takes the URL for a template. As SQLAlchemy writes it, it has no braces.
        written = sqlalchemy.make_url(url).render_as_string(hide_password=False)
        try:
            return RDBStorage(written, engine_kwargs=waiting)
        except (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.OperationalError):
            # Two workers made the tables at the same time. The second try finds them.
            time.sleep(1.0)
            return RDBStorage(written, engine_kwargs=waiting)


def holds_studies(url: str) -> bool:
    """Whether the storage can hold studies. This makes no file and no table."""
    with if_reachable(url, OPENING):
        if (path := journal_file(url)) is not None:
            return path.is_file()
        if url.startswith("redis"):
            return True
        refuse_memory(url)
        if (path := sqlite_file(url)) is not None and not path.is_file():
            return False
        engine = sqlalchemy.create_engine(url)
        try:
            return bool(sqlalchemy.inspect(engine).has_table("studies"))
        finally:
            engine.dispose()


def journal_file(url: str) -> Path | None:
    return Path(url.removeprefix("journal:")) if url.startswith("journal:") else None


def refuse_memory(url: str) -> None:
    """Raises InputError for an SQLite database without a file."""
    parts = sqlalchemy.make_url(url)
    if parts.get_backend_name() != "sqlite":
        return
    nameless = parts.database in (None, "", ":memory:", "file::memory:")
    if nameless or parts.query.get("mode") == "memory":
        raise InputError(
            f"{url}: keeps the studies in memory, where they end with the command; name a file: "
            "--storage sqlite:///FILE"
        )


def optuna_word(url: str) -> str:
    """The storage as an argument of `optuna --storage` and `optuna-dashboard`, quoted for a shell.
    For a journal file these take the path alone."""
    path = journal_file(url)
    return shlex.quote(url if path is None else str(path.resolve()))


def without_password(url: str) -> str:
    """The storage as messages name it."""
    try:
        return str(sqlalchemy.make_url(url))
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return url  # a journal file, or no URL at all


@contextmanager
def if_reachable(url: str, also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turns the errors of a storage that cannot be reached, and those in `also`, into an
    InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        # redis has its own error types. They cannot be imported, since redis may not be installed.
        of_redis = type(error).__module__.startswith("redis.")
        if not of_redis and not isinstance(error, (*FAILURES, *also)):
            raise
        named = without_password(url)
        if (module := missing_module(error)) is not None:
            raise InputError(
                f"{named}: the studies' storage cannot be used without the package {module}, which "
                f"is not installed: pip install {PACKAGES.get(module, module)}"
            ) from error
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()
        raise InputError(
            f"{named}: the studies' storage cannot be used ({reason[0] if reason else error!r}); "
            "if it is damaged, move it away and run the study again, or name another with "
            "--storage: an SQLAlchemy URL, redis://HOST, or journal:FILE"
        ) from error


def missing_module(error: BaseException | None) -> str | None:
    """The name of the module that was not found, or None. Optuna raises its own error from that of
    the import, so all causes are searched."""
    while error is not None and not isinstance(error, ModuleNotFoundError):
        error = error.__cause__
    return error.name if error is not None else None


def open_study(bound: Bound, url: str) -> optuna.Study:
    """Opens the study, or makes it if the storage has none of its name. Raises InputError when it
    was made for another version of the registry."""
    storage = open_storage(url)
    with if_reachable(url, OPENING):
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
        refuse_damaged(study, bound)
    return study


def existing_study(bound: Bound, url: str, run: str) -> optuna.Study:
    """Opens a study that has a completed trial, and makes nothing. Raises InputError when there is
    none; the message names `run`, the command that makes it."""
    missing = InputError(
        f"{without_password(url)} holds no study {bound.label!r}; run it first: {run}"
    )
    if not holds_studies(url):
        raise missing
    storage = open_storage(url)
    with if_reachable(url, OPENING):
        if bound.label not in optuna.get_all_study_names(storage):
            raise missing
        study = optuna.load_study(storage=storage, study_name=bound.label)
        refuse_other_version(study, bound, url)
        refuse_damaged(study, bound)
        trials = study.get_trials(deepcopy=False)
    if all(trial.state != TrialState.COMPLETE for trial in trials):
        errors = [reason for trial in trials if (reason := failure_reason(trial))]
        why = f"; the last one failed: {errors[-1]}" if errors else ""
        raise InputError(
            f"{bound.label}: none of {len(trials)} trials is complete{why}; run more: {run}"
        )
    return study


def description(bound: Bound) -> dict[str, Any]:
    """The attributes of a study that optuna-dashboard shows. The version is written last: its
    presence means that all others are there."""
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
            f"delete it: optuna delete-study --storage {optuna_word(url)} "
            f"--study-name {shlex.quote(bound.label)}"
        )


def refuse_damaged(study: optuna.Study, bound: Bound) -> None:
    """Raises ValueError for a complete trial without the study's parameters, or whose numbers are
    not finite."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        values = [trial.value, *(trial.params.get(name) for name in bound.study.space)]
        if not all(isinstance(each, int | float) and math.isfinite(each) for each in values):
            raise ValueError(f"trial {trial.number} of {bound.label} is damaged")


@contextmanager
def counting_alone(study: optuna.Study) -> Iterator[None]:
    """Keeps other workers of this machine from counting trials and asking for one meanwhile, where
    the storage is an SQLite file. SQLite locks no rows, so two workers could get the same trial."""
    backend = getattr(study._storage, "_backend", None)
    path = sqlite_file(getattr(backend, "url", "none://"))
    if path is None:
        yield
        return
    with path.with_name(f"{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
