"""Generators that depend on numbers alone, so that work can stop and go on with the same draws."""

import numpy as np
import torch


def generator_for(*numbers: int) -> torch.Generator:
    """A CPU generator seeded by all of `numbers`: none negative, each under 2^32, the last not 0
    where there may be fewer. Other numbers, other draws."""
    mixed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed >> np.uint64(1)))
