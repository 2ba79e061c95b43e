"""Arguments that several command lines share."""

import argparse

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
    if not dash:
        return range(positive(word))
    found = range(int(first), int(last) + 1)
    if not found or found.stop > MOST:
        raise argparse.ArgumentTypeError(f"as 5, or as 3-4 for a first and a last below {MOST}")
    return found


def seed_word(seeds: range) -> str:
    """The word that `seed_range` reads."""
    return f"{seeds.start}-{seeds.stop - 1}" if seeds.start else str(seeds.stop)
