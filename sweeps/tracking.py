"""Records a study as a W&B run: a table of its trials, the best value so far, and its winner.

The stages of the trials are runs too, like all stages. Trials that only apply thresholds to stored
outputs run no stage, and are in the table alone.
"""

from typing import Any

import optuna
from optuna.trial import TrialState

from experiments.store import Store
from experiments.tracking.run import Opening, Tracker
from sweeps.studies import Bound


def track_study(bound: Bound, study: optuna.Study, store: Store) -> None:
    """Records the study's current state. The same study is always the same run, whichever worker
    ran its trials."""
    folder = store.root / "wandb"
    tracker = Tracker(
        Opening(
            id=f"sweep-{bound.study.name}-{bound.version()}"[:100],
            name=bound.label,
            kind="sweep",
            groups=["sweeps", bound.study.name],
            tags=[bound.profile.name, bound.data, "sweep"],
            config={
                "row": bound.study.row,
                "objective": bound.study.objective,
                "parameters": {p.name: [p.low, p.high] for p in bound.study.parameters},
                "rungs": list(bound.study.rungs),
                "registry": bound.version(),
            },
            folder=folder,
            link=folder / f"{bound.study.name}.json",
            show=lambda result: [lambda run: tell_study(run, study, result)],
        )
    )
    tracker.finish({"best": study.best_value, "trials": len(study.trials)})


def tell_study(run: Any, study: optuna.Study, result: dict[str, Any]) -> None:
    import wandb

    best = float("-inf")
    rows = []
    names = list(study.best_params)
    for trial in study.get_trials(states=(TrialState.COMPLETE,)):
        best = max(best, trial.value)
        run.log({"value": trial.value, "best_value": best, **trial.params}, step=trial.number)
        rows.append([trial.number, trial.value, *(trial.params.get(name) for name in names)])
    run.log({"tables/trials": wandb.Table(columns=["trial", "value", *names], data=rows)})
    run.summary.update({**result, **{f"best/{k}": v for k, v in study.best_params.items()}})
