"""The error that a person caused and can mend."""


class InputError(Exception):
    """Bad input: the message names the file or the word at fault, and the remedy.

    Command lines print it as one line and exit with 2; no traceback.
    """
