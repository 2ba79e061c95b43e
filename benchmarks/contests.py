"""The comparisons of `benchmarks.training`: for each network ours, the plain one, and a batch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.plain_networks import (
    PlainClassifier,
    PlainCrossNet,
    plain_classifier_loss,
    plain_hdemucs,
    plain_hdemucs_loss,
    plain_xumx_loss,
)
from selfrefine.classes import CLASSES
from selfrefine.models.classifier import build_classifier, magnitudes
from selfrefine.models.separator import build_separator, separation_loss
from selfrefine.models.xumx import CrossNet
from selfrefine.scales import Scale
from selfrefine.settings import XUMX, ClassifierSettings, SeparatorSettings
from selfrefine.training.classifier import classification_loss

Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class Side:
    """One of the compared networks. `build` makes it on the CPU, with the same weights each time.
    `loss(model, *batch)` is the mean over the items of a batch."""

    build: Callable[[], nn.Module]
    loss: Callable[..., Tensor]
    plain: bool = False


@dataclass(frozen=True)
class Contest:
    """A comparison. `draw` makes a batch on a device. Each of `ours` is compared with `plain`."""

    draw: Callable[[torch.device], Batch]
    ours: dict[str, Side]
    plain: Side


def contests(scale: Scale, device: torch.device) -> list[Contest]:
    return [
        classifier_contest(scale.classifier),
        separator_contest("X-UMX", scale.xumx, device),
        separator_contest("Hybrid Demucs", scale.hdemucs, device),
    ]


def classifier_contest(settings: ClassifierSettings) -> Contest:
    def draw(device: torch.device) -> Batch:
        audio = 0.05 * torch.randn(settings.batch, 2, settings.segment, device=device)
        labels = (torch.rand(settings.batch, len(CLASSES), device=device) < 0.5).float()
        return magnitudes(audio, settings), labels

    def ours() -> nn.Module:
        torch.manual_seed(0)
        return build_classifier(settings)

    def plain() -> nn.Module:
        torch.manual_seed(0)
        return PlainClassifier(build_classifier(settings), settings.network)

    def our_loss(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        return classification_loss(model(inputs), labels, use_bce=False)

    side = Side(ours, our_loss)
    return Contest(draw, {"classifier": side}, Side(plain, plain_classifier_loss, plain=True))


def separator_contest(name: str, settings: SeparatorSettings, device: torch.device) -> Contest:
    def draw(device: torch.device) -> Batch:
        shape = (settings.batch, len(CLASSES), 2, settings.segment)
        targets = 0.05 * torch.randn(shape, device=device)
        groups = torch.eye(len(CLASSES)).repeat(settings.batch, 1, 1)
        return targets.sum(dim=1), targets, groups

    def ours() -> nn.Module:
        torch.manual_seed(0)
        return build_separator(settings)

    def one_after_another() -> nn.Module:
        model = ours()
        assert isinstance(model, CrossNet)
        model.side_by_side = False
        return model

    def plain() -> nn.Module:
        model = ours()
        if isinstance(model, CrossNet):
            return PlainCrossNet(model)
        return plain_hdemucs(model, settings)

    sides = {name: Side(ours, separation_loss)}
    if not isinstance(settings.network, XUMX):
        return Contest(draw, sides, Side(plain, without_groups(plain_hdemucs_loss), plain=True))
    if device.type == "cuda":
        sides[f"{name}, branches one after another"] = Side(one_after_another, separation_loss)
    plain_loss = without_groups(partial(plain_xumx_loss, settings=settings))
    return Contest(draw, sides, Side(plain, plain_loss, plain=True))


def without_groups(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Drops the argument `groups`: the plain losses always compare each source on its own."""
    return lambda model, mixture, targets, groups: loss(model, mixture=mixture, targets=targets)
