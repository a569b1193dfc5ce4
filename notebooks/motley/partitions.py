"""Partitions of rollouts: agreement, side files of ``motley partition -o``, and the quality of a pair classifier.

Labels are integers [..., G]; only equality matters. Known answers: tests/notebooks/package_test.py.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import h5py
import numpy as np

from .runs import PathLike, committed, open_run


class PairScores(NamedTuple):
    precision: float
    recall: float
    f1: float


def _table(truth: Any, predicted: Any) -> np.ndarray:
    """Contingency table [classes, clusters] of two labelings [G]."""
    _, a = np.unique(np.asarray(truth), return_inverse=True)
    _, b = np.unique(np.asarray(predicted), return_inverse=True)
    table = np.zeros((a.max() + 1, b.max() + 1), dtype=np.int64)
    np.add.at(table, (a, b), 1)
    return table


def _pairs(counts: np.ndarray) -> int:
    return int(np.sum(counts * (counts - 1) // 2))


def ari(truth: Any, predicted: Any) -> float:
    """Adjusted Rand index of two labelings [G] (Hubert and Arabie 1985); 1 where both are one cluster or all singletons."""
    table = _table(truth, predicted)
    n = int(table.sum())
    both, rows, columns = _pairs(table), _pairs(table.sum(axis=1)), _pairs(table.sum(axis=0))
    expected = rows * columns / max(1, n * (n - 1) // 2)
    highest = (rows + columns) / 2
    return 1.0 if highest == expected else (both - expected) / (highest - expected)


def nmi(truth: Any, predicted: Any) -> float:
    """Mutual information over the mean of the two entropies [G]; 1 where both are one cluster."""
    p = _table(truth, predicted) / np.size(truth)
    rows, columns = p.sum(axis=1), p.sum(axis=0)

    def entropy(q: np.ndarray) -> float:
        q = q[q > 0]
        return float(-(q * np.log(q)).sum())

    total = entropy(rows) + entropy(columns)
    return 1.0 if total == 0 else 2 * (total - entropy(p.reshape(-1))) / total


def pair_counts(truth: Any, predicted: Any) -> tuple[int, int, int]:
    """Pairs together in both, only in the prediction, only in the truth, of labelings [..., G], summed over the groups."""
    t, p = np.asarray(truth), np.asarray(predicted)
    upper = np.triu(np.ones((t.shape[-1], t.shape[-1]), bool), 1)
    same_t, same_p = (t[..., :, None] == t[..., None, :]) & upper, (p[..., :, None] == p[..., None, :]) & upper
    return int((same_t & same_p).sum()), int((same_p & ~same_t).sum()), int((same_t & ~same_p).sum())


def pair_prf(truth: Any, predicted: Any) -> PairScores:
    """Precision, recall and F1 of "these two belong together", over the pairs of all groups [..., G]; 1 where nothing is asked."""
    both, false_merge, false_split = pair_counts(truth, predicted)
    precision = both / (both + false_merge) if both + false_merge else 1.0
    recall = both / (both + false_split) if both + false_split else 1.0
    return PairScores(precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0.0)


def mean_over_groups(score: Any, truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean of ``ari`` or ``nmi`` over groups [..., G]."""
    size = truth.shape[-1]
    return float(np.mean([score(t, p) for t, p in zip(truth.reshape(-1, size), predicted.reshape(-1, size))]))


def side_file(path: PathLike) -> dict[str, np.ndarray]:
    """Labels [steps, B, G] by name of the method, from a file that ``motley partition RUN -o`` wrote."""
    with h5py.File(path, "r") as file:
        return {str(group.attrs["name"]): group["cluster"][:] for group in file.values() if "cluster" in group}


def pair_scores(run: PathLike) -> tuple[np.ndarray, np.ndarray]:
    """What the classifier said and what is true: P(same meaning) and 1[same class], of the unordered pairs of all groups [pairs].

    Pairs of equal texts are left out: they are never put to the classifier. Needs ``log.pair_score = on``.
    """
    with open_run(run) as file:
        rows = committed(file)
        if "pair_score" not in file["partition"]:
            raise ValueError(f"{run}: no pair scores; run with log.pair_score = on")
        score = file["partition/pair_score"][:rows].astype(np.float64)
        truth, token = file["rollouts/class_id"][:rows], file["rollouts/token"][:rows]
    first, second = np.triu_indices(truth.shape[-1], 1)
    differ = np.any(token[..., first, :] != token[..., second, :], axis=-1)
    same = truth[..., first] == truth[..., second]
    score = score[..., first, second]
    known = differ & np.isfinite(score)
    return score[known], same[known]


def reliability(score: Any, same: Any, bins: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Mean score, share that is true and count of each filled bin [filled], and the expected calibration error."""
    score, same = np.asarray(score), np.asarray(same, dtype=np.float64)
    which = np.minimum((score * bins).astype(int), bins - 1)
    count = np.bincount(which, minlength=bins)
    filled = count > 0
    said = np.bincount(which, score, bins)[filled] / count[filled]
    true = np.bincount(which, same, bins)[filled] / count[filled]
    return said, true, count[filled], float(np.sum(count[filled] * np.abs(said - true)) / len(score))


def threshold_sweep(score: Any, same: Any, thresholds: Any) -> np.ndarray:
    """Precision, recall and F1 [thresholds, 3] of "score >= threshold means the same"; NaN precision where nothing passes."""
    score, same = np.asarray(score), np.asarray(same, dtype=bool)
    out = []
    for threshold in np.asarray(thresholds):
        yes = score >= threshold
        both = int((yes & same).sum())
        precision = both / int(yes.sum()) if yes.any() else math.nan
        recall = both / int(same.sum()) if same.any() else math.nan
        out.append((precision, recall, 2 * both / (int(yes.sum()) + int(same.sum())) if yes.any() or same.any() else math.nan))
    return np.array(out)


def class_shares(frame: Any, window: int, column: str = "class_id") -> Any:
    """Shares of the classes of one prompt over training: a frame with the middle of each window of steps as index and one
    column per class. ``frame`` is :func:`motley.rollouts` of one prompt."""
    middle = (frame["step"] // window) * window + window / 2
    counts = frame.groupby([middle, column]).size().unstack(fill_value=0)
    return counts.div(counts.sum(axis=1), axis=0)


def births_and_deaths(shares: Any) -> Any:
    """Classes that appear and that vanish from one window to the next: a frame with the columns births, deaths, alive."""
    there = shares > 0
    before = there.shift(1, fill_value=False)
    out = there.sum(axis=1).to_frame("alive")
    out["births"], out["deaths"] = (there & ~before).sum(axis=1), (~there & before).sum(axis=1)
    return out[["births", "deaths", "alive"]]
