"""PURE  Whether two sets of measurements differ by more than chance, one-sided. SciPy does the mathematics.

Every function returns a p-value: how likely a difference at least this bad is when there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import stats  # type: ignore[import-untyped]  # ships no types


def quantile(values: Sequence[float], fraction: float) -> float:
    """The smallest value that at least `fraction` of the values do not exceed. Raises ValueError for no values."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(fraction * len(values)) - 1)]


def larger(canary: Sequence[float], baseline: Sequence[float]) -> float:
    """Mann-Whitney: the canary's values tend to be larger."""
    return float(stats.mannwhitneyu(canary, baseline, alternative="greater").pvalue)


def smaller(canary: Sequence[float], baseline: Sequence[float]) -> float:
    """Mann-Whitney: the canary's values tend to be smaller."""
    return float(stats.mannwhitneyu(canary, baseline, alternative="less").pvalue)


def more_often(canary: int, canary_of: int, baseline: int, baseline_of: int) -> float:
    """Fisher's exact test of two proportions: right for rare errors, where the usual approximation is not."""
    table = [[canary, canary_of - canary], [baseline, baseline_of - baseline]]
    return float(stats.fisher_exact(table, alternative="greater").pvalue)


def above_rate(failed: int, tried: int, rate: float) -> float:
    """The exact binomial test: more fail than a true rate of `rate` (0 to 1) explains."""
    return float(stats.binomtest(failed, tried, rate, alternative="greater").pvalue)
