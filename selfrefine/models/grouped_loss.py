"""The separators' loss when a source may carry several labels (section 3.2, figure 3)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

SILENT = 1e-9
"""The least loss, of an estimate of zero, by which another loss is divided."""


@dataclass(frozen=True)
class Kept:
    """The `share` of a class' losses in a batch that count, the smallest ones. With `relative`,
    losses are compared after division by that of an estimate of zero, so that loud items are not
    dropped for their level."""

    share: float = 1.0
    relative: bool = False


ALL = Kept()


def grouped_loss(
    estimates: Tensor,
    targets: Tensor,
    groups: Tensor,
    penalty: Callable[[Tensor], Tensor],
    kept: Kept = ALL,
) -> Tensor:
    """The loss of section 3.2 on estimates `(batch, class, …)` and targets `(batch, target, …)`.

    A target's loss is the mean of `penalty` of the sum of its classes' estimates minus the target.
    The batch's loss is the mean over items of the sum over targets. Targets with a row of zeros in
    `groups` `(batch, target, class)` have no loss. `groups` should be on the CPU: reading it from a
    GPU would wait for all its work. `kept` says which losses count.
    """
    grouped = summed_over_groups(estimates, groups)
    per_target = penalty(grouped - targets).flatten(2).mean(dim=2)
    has_loss = groups.amax(dim=2).to(estimates.device, non_blocking=True)
    if kept.share < 1:
        ranked = per_target.detach().float()
        if kept.relative:
            # Of a silent target nothing is known, and its loss is dropped first.
            ranked = ranked / penalty(targets).flatten(2).mean(dim=2).clamp(min=SILENT)
        return truncated_loss(per_target, has_loss, ranked, kept.share)
    return (per_target * has_loss).sum(dim=1).mean()


def truncated_loss(
    per_target: Tensor, has_loss: Tensor, ranked: Tensor, kept_share: float
) -> Tensor:
    """The batch's loss without each target's largest losses, which wrong labels are likely to have.

    All tensors are `(batch, target)`, and `has_loss` holds 0 or 1. Of the items that have a loss
    for a target, those above the quantile `kept_share` of `ranked` are dropped; at least one is
    kept. The kept ones stand for all: a target has the weight that it has without truncation.

    After the loss masking of Kim, Lee and Jung (arXiv 2306.09382) and the public code of others,
    ccom_mdx2023 and iSeparate-SDX, in the label-noise track of the Sound Demixing Challenge 2023
    (Fabbro et al., arXiv 2308.06979).
    """
    among = has_loss > 0
    losses = ranked.float().masked_fill(~among, torch.nan)
    highest = losses.nanquantile(kept_share, dim=0)
    kept = (among & (losses <= highest)).to(per_target.dtype)
    counts = has_loss.sum(dim=0)
    # No target without a loss divides by 0.
    means = (per_target * kept).sum(dim=0) / kept.sum(dim=0).clamp(min=1)
    return (means * counts).sum() / len(per_target)


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
