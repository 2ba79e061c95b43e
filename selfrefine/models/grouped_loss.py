"""The separators' loss when a source may carry several labels (section 3.2, figure 3)."""

from collections.abc import Callable

import torch
from torch import Tensor


def grouped_loss(
    estimates: Tensor, targets: Tensor, groups: Tensor, penalty: Callable[[Tensor], Tensor]
) -> Tensor:
    """The loss of section 3.2 on estimates `(batch, class, …)` and targets `(batch, target, …)`.

    Each target's loss is the mean penalty of the sum of its classes' estimates minus the target;
    the batch's loss is the mean over items of the sum over targets. Rows of zeros in `groups`
    have no loss. `groups` is best on the CPU: reading it from a GPU would wait for all its work.
    """
    conventional = bool((groups == torch.eye(groups.shape[1], device=groups.device)).all())
    groups = groups.to(estimates.device, non_blocking=True)
    grouped = estimates if conventional else torch.einsum("btc,bc...->bt...", groups, estimates)
    per_target = penalty(grouped - targets).flatten(2).mean(dim=2)
    return (per_target * groups.amax(dim=2)).sum(dim=1).mean()
