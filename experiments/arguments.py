"""Arguments that several command lines share."""

import argparse
import re

MOST = 10_000


def positive(word: str) -> int:
    """A whole number from 1 to MOST, as argparse's `type`."""
    number = int(word)
    if not 1 <= number <= MOST:
        raise argparse.ArgumentTypeError(f"at least 1, at most {MOST}")
    return number


def seed_range(word: str) -> range:
    """Seeds, as argparse's `type`: "5" are those from 0 to 4, "3-4" are 3 and 4."""
    first, dash, last = word.partition("-")
    numbers = [first, last] if dash else [word]
    if not all(re.fullmatch("[0-9]{1,5}", each) for each in numbers):
        raise argparse.ArgumentTypeError("as 5 for a number of seeds, or as 3-4 for seeds 3 and 4")
    found = range(int(first), int(last) + 1) if dash else range(int(word))
    if not found or found.stop > MOST:
        raise argparse.ArgumentTypeError(f"at least one seed, none above {MOST - 1}")
    return found


def seed_word(seeds: range) -> str:
    """The word that `seed_range` reads."""
    return f"{seeds.start}-{seeds.stop - 1}" if seeds.start else str(seeds.stop)
