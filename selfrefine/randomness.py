"""Random generators that depend on numbers alone, so that resumed work repeats the same draws."""

import numpy as np
import torch


def generator_for(*numbers: int) -> torch.Generator:
    """A CPU generator seeded by all of `numbers`.

    Different numbers give different draws. Each number is from 0 to 2^32 - 1. Numbers of different
    count must not differ only by zeros at the end, since these seed the same generator.
    """
    mixed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed >> np.uint64(1)))
