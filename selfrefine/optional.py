"""Packages that not everyone has installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from selfrefine.errors import InputError


@contextmanager
def from_extra(extra: str, needed_by: str) -> Iterator[None]:
    """Around imports of packages that an extra of this one brings.

    Raises InputError, which says what needs it, for one that is not installed. A module that is
    missing in a package is another matter, and raised as it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or "." in error.name:
            raise
        raise InputError(
            f"{needed_by} needs the package {error.name}, which is not installed: "
            f"pip install 'selfrefine[{extra}]'"
        ) from error
