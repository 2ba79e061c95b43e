"""A classifier that knows the classes' tones, for refining to start from."""

from dataclasses import replace
from pathlib import Path

import torch

from selfrefine import scales
from selfrefine.classes import CLASSES
from selfrefine.clips.audio_set import AudioSetWriter, open_audio_set
from selfrefine.models.model_file import save_classifier
from selfrefine.training.classifier import train_classifier
from selfrefine.training.loop import Place
from tests.conftest import CLASS_TONES, RATE, tone

TONE_SETTINGS = replace(
    scales.SMOKE.classifier, segment=16384, steps=120, learning_rate=4e-3, source_uses=1
)


def train_tone_classifier(folder: Path) -> Path:
    """Trains the classifier on songs that no test refines. Returns its file."""
    with AudioSetWriter(folder / "stems", RATE) as writer:
        for song in range(3):
            for name in CLASSES:
                audio = tone(CLASS_TONES[name] * (1.02 + song / 50), 5.0)
                writer.add(f"{song}", name, (name,), audio)
    place = Place(folder, torch.device("cpu"))
    train_classifier(open_audio_set(folder / "stems"), TONE_SETTINGS, 0, place)
    save_classifier(folder / "classifier.pt", folder / "model.pt", TONE_SETTINGS, 0.5)
    return folder / "classifier.pt"
