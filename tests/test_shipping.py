"""`python -m experiments pretrained` at the smoke profile, and refining from the classifier that it
makes."""

from pathlib import Path

import pytest
import torch

from experiments.shipping import ship
from selfrefine.errors import InputError
from selfrefine.models.model_file import load_classifier
from selfrefine.refining.starting import shipped_file
from tests.cli_songs import ask, write_songs


@pytest.mark.slow
def test_a_start_is_made_with_its_card_and_refined_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    shipped = shipped_file(16000).read_bytes()
    with pytest.raises(InputError, match="--to"):
        ship("smoke", tmp_path / "runs", None, None)
    assert ship("smoke", tmp_path / "runs", None, tmp_path / "made") == 0
    assert shipped_file(16000).read_bytes() == shipped
    path = tmp_path / "made" / "band-16000.pt"
    assert load_classifier(path, torch.device("cpu")).settings.steps == 60
    card = path.with_suffix(".md").read_text()
    assert "songs 2000 to 2001" in card
    assert card.count("| single stems |") == 1
    # Made again from what the store holds, it is the same.
    assert ship("smoke", tmp_path / "runs", None, tmp_path / "again") == 0
    assert (tmp_path / "again" / "band-16000.md").read_text() == card
    write_songs(tmp_path / "in", 2)
    words = ("refine", tmp_path / "in", "--out", tmp_path / "out", "--start", path)
    answer = ask(capsys, *words, "--iterations", 0)
    assert answer.code == 0, answer.err
