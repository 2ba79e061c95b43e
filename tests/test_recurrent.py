"""LSTMs that run layer by layer compute the same as torch's. On a GPU they leave autocast, and no
other layer does."""

import pytest
import torch
from torch import nn

from selfrefine.models.recurrent import Float32LSTM, LayeredLSTM, keep_lstms_in_float32


def stacks(layers: int, dropout: float) -> tuple[LayeredLSTM, nn.LSTM]:
    """Our LSTM and torch's, both initialised from the same seed."""
    torch.manual_seed(1)
    ours = LayeredLSTM(24, 8, layers, dropout)
    torch.manual_seed(1)
    options = {"batch_first": True, "bidirectional": True}
    return ours, nn.LSTM(24, 8, layers, dropout=dropout if layers > 1 else 0.0, **options)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(("layers", "dropout"), [(1, 0.4), (3, 0.4), (2, 0.0)])
def test_a_layered_lstm_is_torchs_bit_for_bit_forwards_and_backwards(
    layers: int, dropout: float, autocast: bool
) -> None:
    ours, peer = stacks(layers, dropout)
    values = torch.randn(5, 11, 24)
    outputs = []
    for model in (ours, peer):
        torch.manual_seed(2)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            found = model(values)
        found = found[0] if isinstance(found, tuple) else found
        found.float().square().sum().backward()
        outputs.append(found)
    assert torch.equal(*outputs)
    gradients = [[p.grad for p in model.parameters()] for model in (ours, peer)]
    assert all(torch.equal(own, theirs) for own, theirs in zip(*gradients, strict=True))


def test_its_state_has_torchs_names_both_ways() -> None:
    ours, peer = stacks(3, 0.4)
    state = nn.ModuleDict({"lstm": ours}).state_dict()
    assert list(state) == [f"lstm.{name}" for name in peer.state_dict()]
    peer.load_state_dict({name.removeprefix("lstm."): value for name, value in state.items()})
    for weight in peer.parameters():
        weight.data.add_(1.0)
    ours.load_state_dict(peer.state_dict())
    values = torch.randn(2, 7, 24)
    torch.testing.assert_close(ours.eval()(values), peer.eval()(values)[0])
    with pytest.raises(RuntimeError, match=r"layers\.1\.weight_hh_l0"):
        ours.load_state_dict({k: v for k, v in peer.state_dict().items() if k != "weight_hh_l1"})


def test_every_lstm_of_a_model_is_kept_in_float32_with_its_weights() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.LSTM(4, 3)))
    before = [weight.clone() for weight in model.parameters()]
    keep_lstms_in_float32(model)
    assert [type(part) for part in model.modules()].count(Float32LSTM) == 1
    assert nn.LSTM not in [type(part) for part in model.modules()]
    pairs = zip(before, model.parameters(), strict=True)
    assert all(torch.equal(old, new) for old, new in pairs)
