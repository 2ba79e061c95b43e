"""The embedded band: synthetic songs that are composed, sung, played and mixed from a seed.

No data set can be shipped, so the default one is made here. `play_song` composes a song (score,
parts), plays it (sound font, synthesizers, singing) and mixes it. `play_songs` does so for many
songs, in several processes. The two domains differ only in their data, in `domain_a.py` and
`domain_b.py`.
"""

from selfrefine.band.ensemble import play_songs
from selfrefine.band.song import DOMAINS, Track, play_song

__all__ = ["DOMAINS", "Track", "play_song", "play_songs"]
