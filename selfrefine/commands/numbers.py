"""Numbers on the command line, as argparse's `type`."""

import argparse

LARGEST_SEED = 2**63 - 1
"""The largest seed that torch's and numpy's generators both take."""


def seed(word: str) -> int:
    """A whole number that every random generator takes."""
    number = int(word)
    if not 0 <= number <= LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"{word}: 0 to {LARGEST_SEED}")
    return number
