"""Preparing the stems of a folder for training. Files and stems that are left out are noted."""

from pathlib import Path

from selfrefine.app.output_folder import refuse_full_disk
from selfrefine.classes import CLASSES
from selfrefine.clips.trimming import TrimmedStems, open_trimmed_stems, trim_stems
from selfrefine.files.header import listed_seconds
from selfrefine.files.layouts import SongFiles, unused_audio
from selfrefine.progress import Progress


def note_unused(source: Path, songs: list[SongFiles], progress: Progress) -> None:
    unused = unused_audio(source, songs)
    if unused:
        progress.note(
            f"{len(unused)} audio files are left out, as {unused[0]}: named by no class, or not "
            "where stems are looked for; selfrefine check-data lists them"
        )


def trimmed_stems(
    songs: list[SongFiles], work: Path, sample_rate: int, progress: Progress
) -> TrimmedStems:
    """The stems at `sample_rate` Hz with their silence removed. They are kept in `work`, and read
    from their files where they are not there yet."""
    folder = work / "stems"
    if not (folder / "index.json").exists():
        needed = listed_seconds(songs) * sample_rate * 4
        refuse_full_disk(work, needed, "the decoded stems")
        trim_stems(songs, folder, sample_rate, progress)
    trimmed = open_trimmed_stems(folder)
    for stem in trimmed.skipped.values():
        progress.note(f"left out: {stem.reason}")
    if trimmed.skipped:
        total = len(trimmed.skipped) + len(trimmed.kept)
        progress.note(f"{len(trimmed.skipped)} of {total} stems are left out")
    held = {name for clip in trimmed.stems.clips for name in clip.label}
    if missing := [name for name in CLASSES if name not in held]:
        progress.note(f"no usable stem is labelled {' or '.join(missing)}: that cannot be learnt")
    return trimmed
