"""The four classes of music source separation, in the order of the paper's tables."""

CLASSES: tuple[str, ...] = ("vocals", "bass", "drums", "other")
