"""The embedded band: songs that write, sing, play and mix themselves from a seed.

No data set can be shipped, so the default one is made here. `play_song` goes through: compose
(score, parts) -> play (sound font, synthesizers, singing) -> mix. What differs between the two
domains is data, in `domains.py`. `play_songs` does so for many songs, in several processes.
"""

from selfrefine.band.ensemble import play_songs
from selfrefine.band.song import DOMAINS, Track, play_song

__all__ = ["DOMAINS", "Track", "play_song", "play_songs"]
