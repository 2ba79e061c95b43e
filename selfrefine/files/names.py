"""Meeting of names that people, spreadsheets and file systems write in different bytes.

macOS writes an accent as a sign of its own (NFD), most others as one letter with its accent (NFC).
A spreadsheet may save a table in Windows' code page.
"""

import unicodedata
from collections.abc import Iterable


def common_form(name: str) -> str:
    """The form in which names are compared: NFC. Bytes that are not UTF-8 are read as Windows'
    code page 1252."""
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError:
            name = name.encode(errors="surrogateescape").decode("cp1252", errors="replace")
    return unicodedata.normalize("NFC", name)


def met_names(words: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """The known name that each of `words` stands for: the equal one, else the one of its common
    form.

    A word that meets none is not in the result. Neither is one that may stand for several names, or
    that shares its form with another such word: names that differ only in form stay distinct.
    """
    wanted, names = dict.fromkeys(words), dict.fromkeys(known)
    met = {word: word for word in wanted if word in names}
    words_of, names_of = (
        by_form(name for name in left if name not in met) for left in (wanted, names)
    )
    for form, sharing in words_of.items():
        candidates = names_of.get(form, [])
        if len(sharing) == len(candidates) == 1:
            met[sharing[0]] = candidates[0]
    return met


def by_form(names: Iterable[str]) -> dict[str, list[str]]:
    """The names of each common form."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(common_form(name), []).append(name)
    return found
