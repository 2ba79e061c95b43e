"""The error for input that the user can correct, and the words of errors as one line."""

import errno

REMEDIES = {
    errno.ENOSPC: "the disk is full; free space, or choose a folder on another disk",
    errno.EDQUOT: "the quota is used up; free space, or choose a folder elsewhere",
    errno.EFBIG: "files of that size are not allowed here; choose a folder elsewhere",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission denied; change the permissions, or choose another folder",
    errno.EPERM: "permission denied; change the permissions, or choose another folder",
    errno.EISDIR: "is a folder where a file is needed; move it away, or choose another folder",
    errno.ENOTDIR: "is below a file where a folder is needed; choose another folder",
    errno.EEXIST: "is a file where a folder is needed; move it away, or choose another folder",
    errno.ELOOP: "is a link that leads back to itself; choose another path",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


class InputError(Exception):
    """Bad input. The message names the file or the value at fault, and the remedy.

    Commands print it as one line, without a traceback, and exit with code 2.
    """


def system_words(error: OSError) -> str:
    """An error of the system as one line: the file, what is wrong, and the remedy."""
    what = REMEDIES.get(error.errno or 0, error.strerror or str(error))
    return f"{error.filename}: {what}" if error.filename else what


def printable(text: str) -> str:
    """The text with control characters, and bytes that are not UTF-8, escaped. File names can hold
    both, and line breaks."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
