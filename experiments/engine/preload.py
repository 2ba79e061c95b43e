"""Imports the modules that workers need to compute stages, once, in the server that workers fork
from. Otherwise each worker spends several seconds of a core on imports. A module that is missing
here costs time but breaks nothing."""

import selfrefine.band
import selfrefine.clips.corruption
import selfrefine.clips.song_set
import selfrefine.clips.truth
import selfrefine.metrics.label_sets
import selfrefine.metrics.recognition
import selfrefine.metrics.sdr
import selfrefine.refining.decisions
import selfrefine.refining.labels
import selfrefine.refining.mixture_outputs
import selfrefine.training.classifier
import selfrefine.training.separator  # noqa: F401
