"""Model files: whatever their bytes or settings say, a file is loaded as it was written or refused
in one line, before memory is taken for its network."""

import dataclasses
import json
import random
import resource
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch

from selfrefine.errors import InputError
from selfrefine.models import model_file
from selfrefine.models.classifier import build_classifier
from selfrefine.models.model_file import KINDS, load_classifier, load_separator
from selfrefine.models.separator import build_separator
from selfrefine.models.settings_bounds import BOUNDS, refuse_impossible
from selfrefine.models.weights import load_model, read_tensors, save_tensors
from selfrefine.scales import SCALES, SMOKE
from selfrefine.settings import HDemucs

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    save_tensors({"model": build_classifier(SMOKE.classifier).state_dict()}, folder / "model.pt")
    model_file.save_classifier(folder / "good.pt", folder / "model.pt", SMOKE.classifier, 0.5)
    return folder / "good.pt"


@pytest.fixture(scope="module")
def separator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("separator")
    save_tensors({"model": build_separator(SMOKE.xumx).state_dict()}, folder / "model.pt")
    model_file.save_separator(folder / "good.pt", folder / "model.pt", SMOKE.xumx)
    return folder / "good.pt"


def test_every_number_of_every_kind_has_bounds_that_the_scales_keep() -> None:
    assert set(BOUNDS) == set(KINDS.values())
    for kind, bounds in BOUNDS.items():
        numeric = set()
        for name, hint in get_type_hints(kind).items():
            parts = {hint, *get_args(hint)}
            if parts & {int, float}:
                numeric.add(name)
        assert numeric == set(bounds)
    for scale in SCALES.values():
        for settings in (scale.classifier, scale.xumx, scale.hdemucs):
            refuse_impossible(settings)


def places(settings: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The names that lead to each value of nested settings."""
    for entry in dataclasses.fields(settings):
        value = getattr(settings, entry.name)
        if dataclasses.is_dataclass(value):
            yield from places(value, (*before, entry.name))
        yield (*before, entry.name)


def changed(settings: Any, place: tuple[str, ...], value: Any) -> Any:
    name, *rest = place
    inner = changed(getattr(settings, name), tuple(rest), value) if rest else value
    return dataclasses.replace(settings, **{name: inner})


@pytest.mark.parametrize("settings", [SMOKE.classifier, SMOKE.xumx, SMOKE.hdemucs])
@pytest.mark.parametrize("value", [float("nan"), -7, 10**12, "3", [1], {}, (1, "2"), float("inf")])
def test_an_impossible_value_of_any_setting_is_refused_by_name(settings: Any, value: Any) -> None:
    for place in places(settings):
        if place[-1] in ("loudness_lufs", "sign_flip") and value == -7:
            continue
        try:
            spoilt = changed(settings, place, value)
        except (InputError, TypeError, ValueError):
            continue  # ranges of effects check themselves
        with pytest.raises(ValueError, match=f"{place[-1]}="):
            refuse_impossible(spoilt)


HOSTILE = [
    {"sample_rate": 0},
    {"segment": -5},
    {"network": {"is": "XUMX", "hidden": 10**9}},
    {"network": {"is": "XUMX", "lstm_layers": 10**6}},
    {"network": {"is": "XUMX", "hidden": 16384, "lstm_layers": 16, "fft": 65536}},
    {"network": {"is": "HDemucs", "channels": 1024, "depth": 10}},
    {"network": {"is": "HDemucs", "channels": 10**9}},
    {"network": {"is": "ConvNeXt"}},
    {"network": {"is": ["XUMX"]}},
    {"network": [1, 2]},
    {"network": None},
    {"loudness_lufs": float("nan")},
    {"batch": "4"},
    {"gain": [True, 1.0]},
    {"steps": True},
    {"learning_rate": 10**400},
    {"unheard_of": 1},
]


@pytest.mark.parametrize("change", HOSTILE, ids=str)
def test_hostile_settings_are_refused_before_memory_is_taken(
    change: dict[str, Any], separator: Path, tmp_path: Path
) -> None:
    content = read_tensors(separator)
    settings = json.loads(content["settings"]) | change
    path = tmp_path / "hostile.pt"
    save_tensors(content | {"settings": json.dumps(settings)}, path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"hostile\.pt: ") as caught:
        load_separator(path, CPU)
    assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200e3


@pytest.mark.parametrize(
    "change",
    [
        {"settings": "[" * 100000},
        {"settings": "[]"},
        {"settings": '"XUMX"'},
        {"settings": 7},
        {"settings": json.dumps({"is": "XUMX"})},
        {"format": torch.ones(3)},
        {"classes": 5},
        {"classes": ("vocals",)},
        {"model": torch.ones(3)},
        {"model": {}},
        {"threshold": float("nan")},
        {"threshold": 0.0},
        {"threshold": 1.5},
        {"threshold": "0.5"},
        {"threshold": True},
    ],
    ids=lambda change: f"{change}"[:40],
)
def test_content_of_a_wrong_kind_is_refused_in_one_line(
    change: dict[str, Any], classifier: Path, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.pt"
    save_tensors(read_tensors(classifier) | change, path)
    with pytest.raises(InputError, match=r"wrong\.pt: ") as caught:
        load_classifier(path, CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: value.double(),
        lambda value: value[:-1],
        lambda value: value.to_sparse(),
        lambda value: torch.zeros(1).expand(10**9),
        lambda value: torch.empty(value.shape, device="meta"),
        lambda value: value.tolist(),
        lambda value: value * float("inf"),
    ],
)
def test_a_tensor_that_is_not_the_networks_is_refused(
    spoil: Any, classifier: Path, tmp_path: Path
) -> None:
    content = read_tensors(classifier)
    weights = dict(content["model"])
    weights["trunk.stem.0.weight"] = spoil(weights["trunk.stem.0.weight"] + 1)
    path = tmp_path / "other.pt"
    save_tensors(content | {"model": weights}, path)
    with pytest.raises(InputError, match=r"other\.pt: .*(fit|NaN)"):
        load_classifier(path, CPU)


def test_one_flipped_bit_anywhere_in_what_is_stored_is_found(
    classifier: Path, tmp_path: Path
) -> None:
    """torch.load alone takes a flipped bit in a tensor for another number."""
    content = classifier.read_bytes()
    with zipfile.ZipFile(classifier) as archive:
        entries = archive.infolist()
    draw = random.Random(0)
    path = tmp_path / "flipped.pt"
    for entry in entries:
        # A name in the local header and an aligning filler come before the bytes of an entry.
        head = entry.header_offset
        begin = (
            head
            + 30
            + sum(int.from_bytes(content[head + k : head + k + 2], "little") for k in (26, 28))
        )
        for place in {begin, begin + entry.file_size - 1, begin + draw.randrange(entry.file_size)}:
            spoilt = bytearray(content)
            spoilt[place] ^= 1 << draw.randrange(8)
            path.write_bytes(spoilt)
            with pytest.raises(ValueError, match="checksum"):
                read_tensors(path)


def test_an_archive_that_would_unpack_to_more_than_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(10**7))
    with pytest.raises(ValueError, match="more than its size"):
        read_tensors(path)


def test_weights_of_another_network_are_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save_tensors({"model": build_separator(SMOKE.xumx).state_dict()}, path)
    network = dataclasses.replace(SMOKE.hdemucs, network=HDemucs(channels=4, fft=1024, depth=5))
    with pytest.raises(InputError, match=r"model\.pt: damaged .* delete it and run again"):
        load_model(build_separator(network), path, CPU)
