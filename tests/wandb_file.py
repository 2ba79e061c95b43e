"""Reads W&B's offline files: a LevelDB log (blocks of 32 KiB) of protocol buffers."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK = 32768
HEADER = struct.Struct("<IHB")
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[Any]:
    """Every `wandb_internal_pb2.Record` of a .wandb file."""
    from wandb.proto.wandb_internal_pb2 import Record

    data = path.read_bytes()
    assert data[:4] == b":W&B"
    position, whole = 7, b""
    while position + HEADER.size <= len(data):
        if BLOCK - position % BLOCK < HEADER.size:
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = HEADER.unpack_from(data, position)
        position += HEADER.size
        part = data[position : position + length]
        position += length
        assert kind in (FULL, FIRST, MIDDLE, LAST)
        whole = part if kind in (FULL, FIRST) else whole + part
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(whole)
            yield record


def by_kind(path: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        found.setdefault(kind, []).append(getattr(record, kind))
    return found


def history(path: Path) -> list[dict[str, Any]]:
    """The values that were logged, step by step."""
    return [items(each.item) for each in by_kind(path).get("history", [])]


def items(entries: Any) -> dict[str, Any]:
    return {
        entry.key or "/".join(entry.nested_key): json.loads(entry.value_json) for entry in entries
    }
