"""Statistics over seeds, number for number those of ``motley compare`` (experiments/statistics.hpp).

A sample is one list of values, one per seed, or a list of such lists, one per task (strata). Means are means over the
strata of the means over seeds; a bootstrap resamples seeds within each stratum (rliable, arXiv 2108.13264). Its draws come
from Philox4x32-10 at an address, so an interval repeats for the same ``seed`` and ``reps``.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Callable, NamedTuple, Sequence

import numpy as np

BOOTSTRAP_STREAM = 12  # Stream::bootstrap of core/base/rng.hpp


class Interval(NamedTuple):
    low: float
    high: float


class EntropyLaw(NamedTuple):
    """R = -a exp(H) + b; ``ceiling`` = b - a is the predicted R at H = 0."""

    a: float
    b: float
    ceiling: float
    r2: float
    rmse: float


# --- draws -----------------------------------------------------------------------------------------------------------


def philox4x32_10(counter: Sequence[Any], key: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Ten rounds of Philox4x32 (Salmon et al., SC'11) on arrays of counters; four words of uint32, each broadcast [...]."""
    mask = np.uint64(0xFFFFFFFF)
    c0, c1, c2, c3 = np.broadcast_arrays(*(np.asarray(c, dtype=np.uint64) for c in counter))
    key0, key1 = key
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(key0), p1 & mask, (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(key1), p0 & mask
        key0, key1 = (key0 + 0x9E3779B9) & 0xFFFFFFFF, (key1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def bootstrap_draws(reps: int, stratum: int, n: int, seed: int = 0) -> np.ndarray:
    """Indices [reps, n] of the resamples of a stratum of n seeds; the draw of (rep, i) is its own address."""
    rep, i = np.arange(reps)[:, None], np.arange(n)[None, :]
    word = philox4x32_10((i, stratum, rep, BOOTSTRAP_STREAM), (seed & 0xFFFFFFFF, seed >> 32))[0]
    return ((word * np.uint64(n)) >> np.uint64(32)).astype(np.int64)


# --- means and intervals ---------------------------------------------------------------------------------------------


def _strata(x: Any) -> list[np.ndarray]:
    items = list(x)
    if items and np.ndim(items[0]) > 0:
        return [np.asarray(s, dtype=np.float64) for s in items]
    return [np.asarray(items, dtype=np.float64)]


def _ordered_sum(x: np.ndarray) -> np.ndarray:
    """Sum over the last axis from the first to the last, as a loop does it (numpy's own sum adds pairwise)."""
    total = np.zeros(x.shape[:-1])
    for i in range(x.shape[-1]):
        total = total + x[..., i]
    return total


def _means(samples: list[np.ndarray]) -> np.ndarray:
    means = [_ordered_sum(s) / s.shape[-1] for s in samples if s.shape[-1] > 0]
    return _ordered_sum(np.stack(means, axis=-1)) / len(means)


def _iqms(samples: list[np.ndarray]) -> np.ndarray:
    x = np.sort(np.concatenate(samples, axis=-1), axis=-1)
    cut = x.shape[-1] // 4
    return _ordered_sum(x[..., cut : x.shape[-1] - cut]) / (x.shape[-1] - 2 * cut)


def mean(x: Any) -> float:
    """Mean over the strata of the means over seeds."""
    return float(_means(_strata(x)))


def iqm(x: Any) -> float:
    """Interquartile mean: floor(n/4) values cut at each end, scipy.stats.trim_mean(x, 0.25); strata are pooled."""
    return float(_iqms(_strata(x)))


def _quantile(ordered: np.ndarray, q: float) -> float:
    """Linear interpolation between order statistics with one rounding (a fused multiply-add)."""
    at = q * (len(ordered) - 1)
    below = int(at)
    low, high = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
    return float(Fraction(at - below) * Fraction(high - low) + Fraction(low))


STATISTICS: dict[str, Callable[[list[np.ndarray]], np.ndarray]] = {"mean": _means, "iqm": _iqms}


def bootstrap_ci(x: Any, statistic: str = "mean", reps: int = 50000, seed: int = 0) -> Interval:
    """95 % percentile bootstrap of ``mean`` or ``iqm`` over seeds, stratified by task. Fewer than two values: a point.

    The interval of a paired difference is that of the differences: ``bootstrap_ci(a - b)``.
    """
    samples = _strata(x)
    compute = STATISTICS[statistic]
    if sum(map(len, samples)) < 2:
        value = float(compute(samples))
        return Interval(value, value)
    resampled = [s[bootstrap_draws(reps, at, len(s), seed)] for at, s in enumerate(samples)]
    values = np.sort(compute(resampled))
    return Interval(_quantile(values, 0.025), _quantile(values, 0.975))


def band(curves: np.ndarray, statistic: str = "iqm", reps: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Point, low and high [points] of curves [seeds, points]: a pointwise bootstrap over seeds, the same resamples everywhere."""
    curves = np.asarray(curves, dtype=np.float64)
    compute = STATISTICS[statistic]
    draws = bootstrap_draws(reps, 0, len(curves), seed)
    values = compute([np.moveaxis(curves[draws], 1, -1)])
    return compute([curves.T]), np.quantile(values, 0.025, axis=0), np.quantile(values, 0.975, axis=0)


def probability_of_improvement(x: Any, y: Any) -> float:
    """P(X > Y) = mean over pairs of 1[x > y] + .5 1[x = y], Mann-Whitney's U over n m; of strata: the mean over them."""
    each = []
    for a, b in zip(_strata(x), _strata(y)):
        if len(a) and len(b):
            each.append(float(np.sum(np.where(a[:, None] > b, 1.0, np.where(a[:, None] == b, 0.5, 0.0)))) / (len(a) * len(b)))
    return float(_ordered_sum(np.array(each)) / len(each))


def improvement_ci(x: Any, y: Any, reps: int = 2000, seed: int = 0) -> Interval:
    """95 % bootstrap interval of P(X > Y); both samples are resampled over the same draws of their size (one stratum)."""
    a, b = _strata(x)[0], _strata(y)[0]
    ra, rb = a[bootstrap_draws(reps, 0, len(a), seed)], b[bootstrap_draws(reps, 1, len(b), seed)]
    diff = ra[:, :, None] - rb[:, None, :]
    values = np.sort(((diff > 0) + 0.5 * (diff == 0)).mean(axis=(1, 2)))
    return Interval(_quantile(values, 0.025), _quantile(values, 0.975))


def performance_profile(x: Any, thresholds: Any) -> np.ndarray:
    """Share of seeds with a score above each threshold [thresholds] (rliable's run-score distribution)."""
    pooled = np.concatenate(_strata(x))
    return np.mean(pooled[None, :] > np.asarray(thresholds, dtype=np.float64)[:, None], axis=1)


def profile_band(x: Any, thresholds: Any, reps: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """95 % bootstrap band of :func:`performance_profile`; low and high, [thresholds] each."""
    pooled, tau = np.concatenate(_strata(x)), np.asarray(thresholds, dtype=np.float64)
    shares = (pooled[bootstrap_draws(reps, 0, len(pooled), seed)][:, None, :] > tau[None, :, None]).mean(axis=2)
    return np.quantile(shares, 0.025, axis=0), np.quantile(shares, 0.975, axis=0)


def sign_test(positive: int, n: int) -> float:
    """Two-sided p of ``positive`` successes of n at chance 1/2 (exact binomial)."""
    tail = min(positive, n - positive)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(tail + 1)) / 2**n)


# --- quality ---------------------------------------------------------------------------------------------------------


def pass_at_k(n: Any, c: Any, k: int) -> np.ndarray:
    """Unbiased pass@k = 1 - C(n-c, k) / C(n, k) of c correct samples of n (Chen et al., arXiv 2107.03374); broadcasts [...].

    As a product, 1 - prod_{i=n-c+1..n} (1 - k/i), which does not overflow; 1 where fewer than k are wrong.
    """
    n, c = np.broadcast_arrays(np.asarray(n, dtype=np.int64), np.asarray(c, dtype=np.int64))
    if np.any(n < k) or np.any(c > n) or np.any(c < 0):
        raise ValueError("pass_at_k: needs 0 <= c <= n and k <= n")
    out = np.ones(n.shape)
    for at in np.ndindex(n.shape):
        wrong = int(n[at] - c[at])
        if wrong >= k:
            out[at] = 1.0 - np.prod(1.0 - k / np.arange(wrong + 1, n[at] + 1))
    return out


def fit_entropy(entropy: Any, reward: Any, share: float = 1.0) -> EntropyLaw:
    """Least squares of R = -a exp(H) + b (arXiv 2505.22617) on the first ceil(share n) points; the rest gives ``rmse``.

    a = -Cov(x, R) / Var(x), b = mean R + a mean x with x = exp(H), as core/entropy_law.hpp. entropy, reward [n].
    """
    h, r = np.asarray(entropy, dtype=np.float64), np.asarray(reward, dtype=np.float64)
    finite = np.isfinite(h) & np.isfinite(r)
    x, y = np.exp(h[finite]), r[finite]
    first = min(len(x), max(2, math.ceil(share * len(x))))
    nan = float("nan")
    if first < 2 or np.ptp(x[:first]) == 0:
        return EntropyLaw(nan, nan, nan, nan, nan)
    dx, dy = x[:first] - x[:first].mean(), y[:first] - y[:first].mean()
    a = -float(dx @ dy) / float(dx @ dx)
    b = float(y[:first].mean() + a * x[:first].mean())
    left = y - (b - a * x)
    total = float(dy @ dy)
    r2 = 1 - float(left[:first] @ left[:first]) / total if total > 0 else nan
    rmse = float(np.sqrt(np.mean(left[first:] ** 2))) if first < len(x) else nan
    return EntropyLaw(a, b, b - a, r2, rmse)
