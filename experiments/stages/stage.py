"""A stage is a value that says what is computed, and from what. Its hash is its name.

A kind of stage is a frozen dataclass in a file of its own in this folder. Its fields are settings
and the stages that it is made from. The file also says what the kind is called in words, what it
costs, and how it is computed. What does not change a result (workers, device, logging) is no field.

Planning, and finding that everything is done, must take no time: only `compute` imports torch.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from experiments.profiles import Profile
    from experiments.work import Cost, StepCostOf, Work

Result = dict[str, Any]
"""The result of a stage, as a small JSON value."""


@dataclass(frozen=True)
class Stage:
    """The base of all kinds. `unit` names what a kind's progress counts. `on_gpu` says whether it
    computes on the GPU where there is one, `many_cores` whether several cores can share its
    work."""

    unit: ClassVar[str] = "song"
    on_gpu: ClassVar[bool] = False
    many_cores: ClassVar[bool] = False

    @property
    def version(self) -> int:
        """The version of the computation; part of the identity. A kind whose computation changes
        gives another one, if possible only for the stages whose results change."""
        return 1

    def words(self) -> str:
        """The name of the stage without its seed: "Psi_noisy", "X-UMX on noisy"."""
        raise NotImplementedError

    def cost(self, step_cost_of: "StepCostOf") -> "Cost":
        """The expected cost on one core, or on the GPU, where nothing like the stage was run.

        Raises what `step_cost_of` raises.
        """
        raise NotImplementedError

    def compute(self, work: "Work") -> Result:
        """Computes the stage from its inputs, which are done, into `work.folder`.

        Raises InputError for data that cannot be used.
        """
        raise NotImplementedError

    def at_scale(self, profile: "Profile") -> Any:
        """The stage at a profile's scale. The settings of networks change elsewhere."""
        return self

    def with_seed(self, seed: int) -> Any:
        """The stage trained from `seed`; the stage itself where it trains nothing."""
        return self

    def own_seed(self) -> int | None:
        """The seed that the stage itself is trained from; None where it trains nothing."""
        return None

    def refinements(self) -> int | None:
        """The self-refining iteration: the number of classifiers behind the stage, each trained on
        the labels of the one before. Psi_noisy and what is made of its outputs are 1, Psi_refined
        is 2, the noisy labels themselves are 0. None where no noisy labels are refined: clean data,
        test songs, and Psi_clean, which learns from other songs than it relabels."""
        return None


def inputs(stage: Stage) -> list[Stage]:
    """The stages that `stage` is directly made from, in its fields' order."""
    values = (getattr(stage, entry.name) for entry in dataclasses.fields(stage))
    return [value for value in values if isinstance(value, Stage)]


def closure(stages: list[Stage]) -> list[Stage]:
    """All stages needed, each once, every one after what it is made from."""
    found: dict[Stage, None] = {}

    def visit(stage: Stage) -> None:
        if stage not in found:
            for needed in inputs(stage):
                visit(needed)
            found[stage] = None

    for stage in stages:
        visit(stage)
    return list(found)


def rebuild(stage: Any, change: Callable[[Any], Any]) -> Any:
    """`stage` with `change` applied to every dataclass in it, innermost first."""
    parts = {
        entry.name: rebuild(value, change)
        for entry in dataclasses.fields(stage)
        if dataclasses.is_dataclass(value := getattr(stage, entry.name))
    }
    return change(replace(stage, **parts) if parts else stage)


def seeded(stage: Any, seed: int) -> Any:
    """The same stage with every training behind it run from `seed`; data and tests stay."""

    def change(value: Any) -> Any:
        return value.with_seed(seed) if isinstance(value, Stage) else value

    return rebuild(stage, change)


def expression(value: Any) -> Any:
    """`value` as JSON: a dataclass becomes its name, its version when a stage, and its fields. A
    field that was added later is left out while it holds the value that means "as before"."""
    if not dataclasses.is_dataclass(value):
        return list(value) if isinstance(value, tuple) else value
    head: dict[str, Any] = {"is": type(value).__name__}
    if isinstance(value, Stage):
        head["version"] = value.version
    fields = [entry for entry in dataclasses.fields(value) if not is_as_before(value, entry)]
    return head | {entry.name: expression(getattr(value, entry.name)) for entry in fields}


def is_as_before(value: Any, entry: "dataclasses.Field[Any]") -> bool:
    """Whether a field was added (`selfrefine.settings.added`) and changes nothing."""
    return "as_before" in entry.metadata and bool(
        getattr(value, entry.name) == entry.metadata["as_before"]
    )


@cache
def identity(stage: Stage) -> str:
    """Twelve hexadecimal digits that name the stage's whole resolved expression."""
    text = json.dumps(expression(stage), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def kind(stage: Stage) -> str:
    """The class name in lower case with dashes: a folder of the store, a W&B job type."""
    name = type(stage).__name__
    return "".join("-" + c.lower() if c.isupper() else c for c in name).lstrip("-")


def own_settings(stage: Stage) -> Iterator[tuple[str, Any]]:
    """The names and values of the fields that are not stages."""
    for entry in dataclasses.fields(stage):
        value = getattr(stage, entry.name)
        if not isinstance(value, Stage):
            yield entry.name, value


def trained_seed(stage: Stage) -> int:
    """The seed that the trainings behind a stage ran from; 0 where nothing was trained."""
    own = stage.own_seed()
    if own is not None:
        return own
    return max((trained_seed(needed) for needed in inputs(stage)), default=0)


def describe(stage: Stage) -> str:
    """A short name: "Psi_noisy", "X-UMX on w/ Psi_noisy at 0.9 (seed 1)"."""
    seed = trained_seed(stage)
    return stage.words() + (f" (seed {seed})" if seed else "")
