"""Imports of packages that are installed only with an extra, as in `selfrefine[musdb]`."""

from collections.abc import Iterator
from contextlib import contextmanager

from selfrefine.errors import InputError


@contextmanager
def from_extra(extra: str, needed_by: str) -> Iterator[None]:
    """Wraps imports of packages that the given extra of this package installs.

    Raises InputError where such a package is not installed; the message names what needs it and
    how to install it. A module that is missing within a package raises ModuleNotFoundError as
    usual.
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
