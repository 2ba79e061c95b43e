"""The commands of `python -m sweeps`: list, run, show, freeze."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import TrialState

from experiments.data import CHOICES
from experiments.engine.runner import tell
from experiments.profiles import profile_named
from experiments.store import Store
from selfrefine.app.heartbeat import heartbeat
from selfrefine.errors import InputError
from sweeps.freeze import freeze_text
from sweeps.objectives import OBJECTIVES
from sweeps.parameters import PARAMETERS
from sweeps.storage import default_url, existing_study, if_reachable, open_study, optuna_word
from sweeps.studies import (
    GROUPS,
    STUDIES,
    Bound,
    altered,
    refuse_idle_parameters,
    studies_named,
)
from sweeps.workers import given_up


@dataclass(frozen=True)
class StudyPlace:
    """The places of results and studies: the folder `store` and the URL `storage`. `words` are the
    options of the command line that describe these places and the studies."""

    store: Path
    storage: str | None
    words: tuple[str, ...]

    @property
    def url(self) -> str:
        return self.storage or default_url(self.store.resolve())

    def existing_store(self, run: str) -> Store | None:
        """The store to read from, or None if it does not exist and the studies are in another
        storage. Makes nothing.

        Raises InputError when the store does not exist and no storage is named; the message names
        `run`, the command that makes the store.
        """
        if os.path.isfile(self.store / "store.json"):
            return Store(self.store)
        if self.storage is None:
            raise InputError(
                f"there is no store at {self.store}; name another with --store, or make this one: "
                f"{run}"
            )
        return None

    def run_command(self, bound: Bound) -> str:
        """The command that runs a study with these options."""
        words = ["run", bound.study.altered_from or bound.study.name, *self.words]
        return f"python -m sweeps {shlex.join(words)}"


def bound_studies(
    names: list[str], over: list[str] | None, objective: str | None, profile: str, data: str
) -> list[Bound]:
    """The studies at a scale and on data. Raises InputError for any unknown name, and for a
    parameter without effect."""
    if data not in CHOICES:
        raise InputError(f"no data called {data!r}; choose one of {', '.join(CHOICES)}")
    studies = {study.name: study for name in names for study in studies_named(name)}
    scale = profile_named(profile)
    found = [Bound(altered(study, over, objective), scale, data) for study in studies.values()]
    for bound in found:
        refuse_idle_parameters(bound)
    return found


def list_studies() -> int:
    for study in STUDIES.values():
        print(f"{study.name}: {study.judged_by.meaning}")
        print(f"  varies {', '.join(study.space)} in {study.row}; {study.trials} trials")
    for group, names in GROUPS.items():
        print(f"{group}: {', '.join(names)}")
    print("\nparameters (--over):")
    for parameter in PARAMETERS.values():
        steps = "log" if parameter.log else f"step {parameter.step}"
        print(
            f"  {parameter.name:20s} {parameter.low:g} to {parameter.high:g} ({steps}): "
            f"{parameter.meaning}"
        )
    print("\nobjectives (--objective):")
    for objective in OBJECTIVES.values():
        print(f"  {objective.name:20s} {objective.meaning}")
    return 0


def run(
    bounds: list[Bound], place: StudyPlace, trials: int | None, seed: int, workers: int | None
) -> int:
    """Runs each study until it has its trials. Returns 1 if a study has no complete trial or a
    trial was given up meanwhile, else 0."""
    from sweeps.tracking import track_study
    from sweeps.trials import computing, run_study

    store = Store(place.store)
    code = 0
    for bound in bounds:
        study = open_study(bound, place.url)
        compute = computing(bound, store, workers)
        wanted = trials or bound.study.trials
        with if_reachable(place.url), heartbeat(bound.label):
            before = given_up(study)
            failures = run_study(study, bound, store, compute, wanted, seed, workers)
            lost = {number: why for number, why in given_up(study).items() if number not in before}
            complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if lost:
            code = 1
            told = "; ".join(f"trial {number} {why}" for number, why in lost.items())
            tell(f"{bound.label}: {len(lost)} of its trials were given up: {told}")
        if not complete:
            code = 1
            why = f": {failures[-1]}" if failures else ""
            tell(f"{bound.label}: no trial is complete{why}")
            continue
        track_study(bound, study, store)
        best = study.best_trial
        failed = f", {len(failures)} failed" if failures else ""
        tell(
            f"{bound.label}: {len(complete)} trials complete{failed}; best {best.value:.4f} at "
            + ", ".join(f"{name} {value:.4g}" for name, value in best.params.items())
        )
    return code


def show_study(bounds: list[Bound], place: StudyPlace, output: Path) -> int:
    """Writes each study's pictures, trials and page, and prints its best trials.

    Studies that were not run are skipped with a note. Raises InputError if none was run.
    """
    from sweeps.page import best_frame, count_of, given_up_lines, write_page

    store = place.existing_store(place.run_command(bounds[0]))
    missing: list[str] = []
    for bound in bounds:
        try:
            study = existing_study(bound, place.url, place.run_command(bound))
        except InputError as error:
            missing.append(str(error))
            continue
        folder = output / f"{bound.data}-{bound.profile.name}" / "sweeps"
        with heartbeat(f"showing {bound.label}"):
            page = write_page(bound, study, store, folder)
        print(f"\n{bound.label}: {bound.study.judged_by.meaning}")
        print(best_frame(study).to_markdown(index=False, floatfmt=".4g"))
        print("\n".join([count_of(study), *given_up_lines(study), f"written to {page}"]))
    if len(missing) == len(bounds):
        raise InputError(missing[0])
    for reason in missing:
        tell(f"note   {reason}")
    if store is None:
        tell(f"note   there is no store at {place.store}: curves of stored outputs are left out")
    print(f"\nto look closer: optuna-dashboard {optuna_word(place.url)}")
    return 0


def freeze(bounds: list[Bound], place: StudyPlace) -> int:
    if place.storage is None:
        place.existing_store(place.run_command(bounds[0]))
    for bound in bounds:
        study = existing_study(bound, place.url, place.run_command(bound))
        print(freeze_text(bound, study), end="\n\n")
    return 0
