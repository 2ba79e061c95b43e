"""`selfrefine corrupt`: corrupts the songs of a folder. Songs that are done are passed over."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selfrefine.app.failures import Failures
from selfrefine.app.finished_folder import MARK, UNFINISHED, finished_folder, is_finished
from selfrefine.clips.corruption_on_disk import corrupt_song
from selfrefine.clips.truth import Piece, StemTruth
from selfrefine.errors import InputError
from selfrefine.files.atomic import write_json
from selfrefine.files.layouts import SongFiles, fingerprint
from selfrefine.progress import Note
from selfrefine.settings import Corruption

TRUTH = "truth.json"
"""A file in a corrupted song's folder: what its stems hold, from which the tables of all songs are
made."""

SongTruth = tuple[list[StemTruth], list[Piece]]
"""What each stem of a song, or of several, holds, as a whole and piece by piece."""


def was_begun(out: Path) -> bool:
    """Whether an earlier call has written into `out`."""
    return any(out.glob(f"*/{MARK}")) or any(out.glob(f"{UNFINISHED}*"))


def corrupted_song(
    song: SongFiles, out: Path, noise: Corruption, seed: list[int], note: Note
) -> bool:
    """Makes a song's folder in `out`, unless it is there. Returns whether it was made before.

    Raises InputError for a song that cannot be read or is not clean, and for a folder that holds
    something else.
    """
    folder = out / song.name
    made_of = {"options": asdict(noise), "seed or songs": seed, "input": fingerprint([song])}
    made_of = json.loads(json.dumps(made_of))
    if is_finished(folder, made_of):
        return True
    with finished_folder(folder, made_of) as building:
        truths, pieces = corrupt_song(song, building, noise, seed, note)
        values: dict[str, Any] = {
            "stems": [asdict(truth) for truth in truths],
            "pieces": [asdict(piece) for piece in pieces],
        }
        write_json(building / TRUTH, values)
    return False


def finished_truths(out: Path, failures: Failures) -> SongTruth:
    """What the stems of all finished songs in `out` hold, also of songs that are no longer in the
    input. A truth that cannot be read is a failure."""
    truths: list[StemTruth] = []
    pieces: list[Piece] = []
    for mark in sorted(out.glob(f"*/{MARK}")):
        with failures.caught(mark.parent.name):
            of_song = read_song_truth(mark.parent / TRUTH)
            truths += of_song[0]
            pieces += of_song[1]
    return truths, pieces


def read_song_truth(path: Path) -> SongTruth:
    """The truth that `corrupted_song` wrote. Raises InputError for a damaged file."""
    try:
        found = json.loads(path.read_text())
        truths = [
            StemTruth(
                stem["song"],
                stem["given"],
                tuple((name, held, share) for name, held, share in stem["tracks"]),
                tuple(stem["energy_share"]),
            )
            for stem in found["stems"]
        ]
        pieces = [Piece(**{**piece, "label": tuple(piece["label"])}) for piece in found["pieces"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is damaged; delete {path.parent} and run again") from error
    return truths, pieces
