"""Settings as JSON values. A resumed run compares its own with those of the run that was begun."""

import dataclasses
from typing import Any

from selfrefine.models.model_file import NAMES


def settings_mark(settings: Any) -> Any:
    """Nested settings as JSON values, each dataclass under the name that model files give it.

    A field that was added later (`selfrefine.settings.added`) is left out where it changes nothing,
    so that a run from before it can be resumed.
    """
    if isinstance(settings, tuple):
        return [settings_mark(value) for value in settings]
    if not dataclasses.is_dataclass(settings):
        return settings
    mark: dict[str, Any] = {"is": NAMES[type(settings)]}
    for entry in dataclasses.fields(settings):
        value = getattr(settings, entry.name)
        if "as_before" not in entry.metadata or value != entry.metadata["as_before"]:
            mark[entry.name] = settings_mark(value)
    return mark
