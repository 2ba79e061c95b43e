"""What workers need to compute stages, imported once by the server that they fork from: several
seconds of a core for each worker otherwise. What is missing here costs time, nothing else."""

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
