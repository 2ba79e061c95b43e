"""Arguments that several command lines share."""

import argparse

MOST = 10_000


def positive(word: str) -> int:
    """A whole number from 1 to MOST, as argparse's `type`."""
    number = int(word)
    if not 1 <= number <= MOST:
        raise argparse.ArgumentTypeError(f"at least 1, at most {MOST}")
    return number
