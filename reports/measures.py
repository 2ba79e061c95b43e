"""Measures with their uncertainty: one value per seed, and each value's bootstrap over test items.

Two intervals answer two questions. The interval across seeds shows whether another training would
give the same value. The interval over test items (songs; for recognition, stems or mixtures) shows
by bootstrap whether other items would. A third interval covers both.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from scipy import stats

from reports.results import Record, Results
from selfrefine.classes import CLASSES
from selfrefine.metrics.recognition import recognition

DRAWS = 2000
LEVEL = 0.95
RECOGNITION_MEASURES = {
    "accuracy": "accuracy",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
}
"""Names of the measures in a table, by their names in a result. In tables accuracy is in per cent,
the others are shares."""


@dataclass(frozen=True)
class Interval:
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.2f} to {self.high:.2f}"


@dataclass(frozen=True)
class Measure:
    """One number of a table.

    `values` are `(seed,)`, in the order of `seeds`. `resampled` are the bootstrap's values
    `(seed, draw)`; all measures of a test use the same draws of items, so that differences are
    paired. `items` is the number of test items that have a value.
    """

    seeds: tuple[int, ...]
    values: np.ndarray
    resampled: np.ndarray
    items: int

    @property
    def value(self) -> float:
        """The mean over seeds."""
        return float(self.values.mean())

    @property
    def across_seeds(self) -> Interval | None:
        """Student's t interval of the mean over seeds; None for a single run."""
        count = len(self.values)
        if count < 2:
            return None
        half = t_quantile(count - 1) * float(self.values.std(ddof=1)) / math.sqrt(count)
        return Interval(self.value - half, self.value + half)

    @property
    def over_items(self) -> Interval:
        """Percentile interval of the bootstrapped mean over seeds."""
        tail = 100 * (1 - LEVEL) / 2
        low, high = np.nanpercentile(self.resampled.mean(axis=0), [tail, 100 - tail])
        return Interval(float(low), float(high))

    @property
    def over_both(self) -> Interval:
        """Interval for the value over all possible seeds and test items. For a single run it is for
        items alone."""
        half = self.half_width(len(self.seeds), self.items)
        return Interval(self.value - half, self.value + half)

    def half_width(self, seeds: int, items: int) -> float:
        """The expected half width of `over_both` with this many seeds and items.

        The variance of the mean is the sum of the variances across seeds and over items. Student's
        t has the harmonic mean of the degrees of freedom of both parts, weighted by their shares of
        the variance. Welch's formula squares the shares; with 3 seeds its coverage falls to 92%
        instead of 95%.
        """
        count = len(self.seeds)
        across = 0.0 if count < 2 else float(self.values.var(ddof=1)) / seeds
        over = self.items_variance * self.items / items
        total = across + over
        if total == 0:
            return 0.0
        freedom = total / (across / max(1, seeds - 1) + over / max(1, items - 1))
        return t_quantile(freedom) * math.sqrt(total)

    @cached_property
    def items_variance(self) -> float:
        """Variance over items of the bootstrapped mean: the part that all seeds have in common,
        which is the mean covariance of two seeds' draws. For a single run, the whole variance.

        The rest differs from seed to seed. The variance across seeds already contains it.
        """
        count = len(self.seeds)
        draws = self.resampled[:, np.isfinite(self.resampled).all(axis=0)]
        own = draws.var(axis=1, ddof=1).sum()
        if count < 2:
            return float(own)
        shared = count**2 * draws.mean(axis=0).var(ddof=1) - own
        return max(0.0, float(shared) / (count * (count - 1)))


def t_quantile(freedom: float) -> float:
    """The two-sided quantile of Student's t at `LEVEL`, for `freedom` degrees of freedom."""
    return float(stats.t.ppf(0.5 + LEVEL / 2, freedom))


def combined(function: Callable[..., np.ndarray], *measures: Measure) -> Measure | None:
    """Applies `function` to several measures, seed by seed and draw by draw, for the seeds that all
    of them have. None if they have no seed in common."""
    seeds = [s for s in measures[0].seeds if all(s in each.seeds for each in measures)]
    if not seeds:
        return None
    places = [[each.seeds.index(s) for s in seeds] for each in measures]
    rows = list(zip(measures, places, strict=True))
    return Measure(
        tuple(seeds),
        function(*(each.values[place] for each, place in rows)),
        function(*(each.resampled[place] for each, place in rows)),
        min(each.items for each in measures),
    )


@cache
def drawn_items(count: int) -> np.ndarray:
    """The items of each bootstrap draw, int `(draw, item)`, the same for all tests of this size."""
    return np.random.default_rng(0).integers(0, count, (DRAWS, count))


@cache
def drawn_weights(count: int) -> np.ndarray:
    """How often each draw contains each item, float `(draw, item)`."""
    flat = drawn_items(count) + count * np.arange(DRAWS)[:, None]
    counts = np.bincount(flat.ravel(), minlength=DRAWS * count)
    return counts.reshape(DRAWS, count).astype(np.float32)


def separation_measures(records: list[Record]) -> dict[str, Measure]:
    """SDR (dB) of a row's runs, by class and "avg". Empty without runs, and where no song of a run
    could be scored."""
    if not records or not all(len(track_table(record)) for record in records):
        return {}
    values, resampled = [], []
    for record in records:
        tracks = track_table(record)
        values.append(with_average(class_medians(tracks)))
        resampled.append(with_average(class_medians(tracks[drawn_items(len(tracks))])))
    having = (~np.isnan(track_table(records[0]))).sum(axis=0)
    items = (*having.tolist(), len(tracks))
    return by_name((*CLASSES, "avg"), records, np.stack(values), np.stack(resampled), items)


def class_medians(tracks: np.ndarray) -> np.ndarray:
    """Medians `(…, class)` of `(…, track, class)` over the songs that have a class; NaN if none
    has."""
    if not np.isnan(tracks).any():
        return np.median(tracks, axis=-2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice")
        return np.nanmedian(tracks, axis=-2)


def track_table(record: Record) -> np.ndarray:
    """SDR `(track, class)` in dB of the songs that could be scored."""
    rows = [[row[name] for name in CLASSES] for row in record.result["tracks"].values()]
    table = np.array(rows, dtype=float).reshape(-1, len(CLASSES))
    return table[~np.isnan(table).all(axis=1)]


def recognition_measures(records: list[Record], results: Results) -> dict[str, Measure]:
    """Measures of a RecognitionScore's runs, by cells like "multi avg F1". Empty without runs."""
    found: dict[str, Measure] = {}
    if not records:
        return found
    tests = [results.outputs[record.inputs[0]] for record in records]
    for test in tests[0]:
        if not all(len(outputs[test][0]) for outputs in tests):
            continue
        points: dict[str, list[np.ndarray]] = {name: [] for name in RECOGNITION_MEASURES}
        draws: dict[str, list[np.ndarray]] = {name: [] for name in RECOGNITION_MEASURES}
        for record, outputs in zip(records, tests, strict=True):
            truth, values = outputs[test]
            thresholds = np.array(record.result["thresholds"])
            exact = recognition(truth, values, thresholds)
            bootstrapped = recognition(truth, values, thresholds, drawn_weights(len(truth)))
            for name in RECOGNITION_MEASURES:
                unit = 100.0 if name == "accuracy" else 1.0
                points[name].append(with_average(unit * getattr(exact, name)))
                draws[name].append(with_average(unit * getattr(bootstrapped, name)))
        for name, shown in RECOGNITION_MEASURES.items():
            cells = tuple(f"{test} {c} {shown}" for c in (*CLASSES, "avg"))
            items = (len(tests[0][test][0]),) * len(cells)
            found |= by_name(cells, records, np.stack(points[name]), np.stack(draws[name]), items)
    return found


def with_average(values: np.ndarray) -> np.ndarray:
    """Appends the mean over classes to the last axis, `(…, class)`."""
    return np.concatenate([values, values.mean(axis=-1, keepdims=True)], axis=-1)


def by_name(
    names: tuple[str, ...],
    records: list[Record],
    values: np.ndarray,
    resampled: np.ndarray,
    items: tuple[int, ...],
) -> dict[str, Measure]:
    """One measure per name, from `values` `(seed, name)`, `resampled` `(seed, draw, name)` and the
    numbers of `items` `(name,)`."""
    seeds = tuple(record.seed for record in records)
    return {
        name: Measure(seeds, values[:, place], resampled[:, :, place], items[place])
        for place, name in enumerate(names)
    }


Measures = Mapping[str, Mapping[str, Measure]]
"""Measures by `table/row` and cell."""


def all_measures(results: Results) -> dict[str, dict[str, Measure]]:
    """The measures of every row of every table. A row that was not run has none. Rows with the same
    stages are computed once."""
    known: dict[tuple[str, ...], dict[str, Measure]] = {(): {}}
    found = {}
    for label, ids in results.rows.items():
        records = results.runs(label)
        if ids not in known:
            if records[0].kind == "separation-score":
                known[ids] = separation_measures(records)
            elif records[0].kind == "recognition-score":
                known[ids] = recognition_measures(records, results)
            else:
                known[ids] = {}
        found[label] = known[ids]
    return found
