"""The values that the paper prints in its tables, as far as they are known."""

from selfrefine.classes import CLASSES

SEPARATION_CELLS = (*CLASSES, "avg")
"""SDR (dB) per class and averaged."""


def sdr(*printed: float) -> dict[str, float]:
    return dict(zip(SEPARATION_CELLS, printed, strict=True))


def averages(single: tuple[float, float], multi: tuple[float, float]) -> dict[str, float]:
    """The printed average accuracies (%) and F1. The other cells of Tables 1 and 4 are unknown."""
    return {
        "single avg accuracy": single[0],
        "single avg F1": single[1],
        "multi avg accuracy": multi[0],
        "multi avg F1": multi[1],
    }


RECOGNITION_PAPER = {
    "clean": averages((95.1, 0.906), (90.2, 0.907)),
    "noisy": averages((92.5, 0.860), (87.6, 0.887)),
    "refined": averages((92.8, 0.866), (89.2, 0.901)),
}

TABLE2_PAPER = {
    ("Demucs", "clean"): sdr(5.92, 6.16, 5.58, 4.43, 5.52),
    ("Demucs", "noisy"): sdr(3.37, 1.92, 0.70, 0.86, 1.71),
    ("Demucs", "w/ Psi_clean"): sdr(5.31, 5.12, 1.32, 2.16, 3.48),
    ("Demucs", "w/ Psi_noisy"): sdr(4.15, 4.58, 1.62, 2.85, 3.30),
    ("Demucs", "w/ Psi_refined"): sdr(5.36, 5.04, 3.09, 3.13, 4.16),
    ("X-UMX", "clean"): sdr(5.76, 4.44, 5.47, 3.65, 4.83),
    ("X-UMX", "noisy"): sdr(3.39, 1.78, 1.52, 0.96, 1.91),
    ("X-UMX", "w/ Psi_clean"): sdr(4.50, 3.22, 3.66, 2.73, 3.53),
    ("X-UMX", "w/ Psi_noisy"): sdr(4.72, 4.11, 3.22, 2.89, 3.74),
    ("X-UMX", "w/ Psi_refined"): sdr(4.99, 3.93, 5.00, 3.18, 4.28),
}

TABLE5_PAPER = {
    1: sdr(4.72, 4.11, 3.22, 2.89, 3.74),
    2: sdr(4.99, 3.93, 5.00, 3.18, 4.28),
    3: sdr(5.03, 3.81, 4.05, 3.02, 3.98),
    4: sdr(4.86, 3.81, 4.64, 3.07, 4.09),
    5: sdr(4.65, 3.87, 5.07, 2.89, 4.12),
}
