"""The separators' loss when a source may carry several labels (section 3.2, figure 3)."""

from collections.abc import Callable

import torch
from torch import Tensor


def grouped_loss(
    estimates: Tensor, targets: Tensor, groups: Tensor, penalty: Callable[[Tensor], Tensor]
) -> Tensor:
    """The loss of section 3.2 on estimates `(batch, class, …)` and targets `(batch, target, …)`.

    A target's loss is the mean of `penalty` of the sum of its classes' estimates minus the target.
    The batch's loss is the mean over items of the sum over targets. Targets with a row of zeros in
    `groups` `(batch, target, class)` have no loss. `groups` should be on the CPU: reading it from a
    GPU would wait for all its work.
    """
    grouped = summed_over_groups(estimates, groups)
    per_target = penalty(grouped - targets).flatten(2).mean(dim=2)
    has_loss = groups.amax(dim=2).to(estimates.device, non_blocking=True)
    return (per_target * has_loss).sum(dim=1).mean()


def summed_over_groups(estimates: Tensor, groups: Tensor) -> Tensor:
    """Sums estimates of classes `(batch, class, …)` to estimates of targets `(batch, target, …)`.

    Items in which every target is one class are not changed. The estimates of the others are added
    in float32, since a matrix product would round them to the device's bf16 or TF32.
    """
    identity = torch.eye(groups.shape[1], device=groups.device)
    merged = torch.nonzero((groups != identity).any(dim=(1, 2)))[:, 0]
    if not len(merged):
        return estimates
    weights = groups[merged].to(estimates.device, non_blocking=True)
    weights = weights.reshape(*weights.shape, *[1] * (estimates.ndim - 2))
    merged = merged.to(estimates.device, non_blocking=True)
    parts = estimates[merged].float()
    sums = [(weights[:, target] * parts).sum(dim=1) for target in range(groups.shape[1])]
    return estimates.float().index_copy(0, merged, torch.stack(sums, dim=1))
