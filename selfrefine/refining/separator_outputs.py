"""A separator as a judge of stems: which of its outputs a stem comes out of."""

from collections.abc import Iterator

import torch
from torch import nn

from selfrefine.classes import CLASSES, Labels
from selfrefine.clips.audio_set import AudioSet
from selfrefine.models.separator import separate_song
from selfrefine.refining.probabilities import StemProbability
from selfrefine.settings import SeparatorSettings


def output_shares(
    model: nn.Module, settings: SeparatorSettings, stems: AudioSet, device: torch.device
) -> Iterator[StemProbability]:
    """Yields for each stem, in the set's order, the share of every output in the power of all, when
    the stem alone is separated. `model` is on `device`."""
    for clip in stems.clips:
        outputs = separate_song(model, settings, torch.from_numpy(stems.audio(clip)).to(device))
        power = outputs.double().square().sum(dim=(1, 2)).cpu()
        total = float(power.sum())
        # A stem of which no output has anything says nothing of its class.
        shares = (power / total).tolist() if total > 0 else [1 / len(CLASSES)] * len(CLASSES)
        yield StemProbability(clip.song, clip.name, clip.label, stems.seconds(clip), tuple(shares))


def kept_by_margin(rows: list[StemProbability], margin_db: float) -> Labels:
    """The given label of each stem whose own output is `margin_db` dB above every other one, and
    none for the rest.

    After the label-noise track of the Sound Demixing Challenge 2023 (Fabbro et al., arXiv
    2308.06979), where a separator trained on the noisy data filtered it.
    """
    ratio = 10 ** (margin_db / 10)
    labels: Labels = {}
    for row in rows:
        shares = dict(zip(CLASSES, row.probability, strict=True))
        own = sum(shares.pop(name) for name in row.given)
        kept = own >= ratio * max(shares.values(), default=0.0)
        labels[row.song, row.name] = row.given if kept else ()
    return labels


def loudest_outputs(rows: list[StemProbability]) -> Labels:
    """The class of the loudest output, for each stem."""
    return {
        (row.song, row.name): (CLASSES[max(range(len(CLASSES)), key=row.probability.__getitem__)],)
        for row in rows
    }
