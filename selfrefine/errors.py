"""The error for input that the user can correct."""


class InputError(Exception):
    """Bad input. The message names the file or the value at fault, and the remedy.

    Commands print it as one line, without a traceback, and exit with code 2.
    """
