"""Arguments that several command lines share."""

import argparse


def positive(word: str) -> int:
    """A whole number of 1 or more, as argparse's `type`."""
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number
