#!/usr/bin/env python3
"""Records statistics of small samples from scipy, statsmodels and rliable.

usage: make_statistics.py > statistics.json        needs numpy, scipy, statsmodels, rliable
`motley compare` is tested against the file; nothing of motley is used here.
"""

import importlib.metadata
import json
import sys

import numpy as np
import scipy
import scipy.stats as st
import statsmodels
from rliable import library, metrics
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import tt_solve_power

REPS = 200000


def samples():
    rng = np.random.default_rng(20251)
    yield "five", rng.normal(0.6, 0.1, 5)
    yield "ten", rng.normal(0.1, 0.2, 10)
    yield "twelve", rng.normal(0.05, 0.1, 12)
    yield "skewed", rng.exponential(0.3, 11)
    yield "ties", np.round(rng.normal(0.1, 0.2, 9), 1)
    yield "twenty", rng.normal(0.04, 0.1, 20)


def one(name, x):
    mean_ci = st.bootstrap((x,), np.mean, n_resamples=REPS, method="percentile", random_state=np.random.default_rng(1),
                           vectorized=True, batch=5000).confidence_interval
    iqm = lambda v, axis=-1: st.trim_mean(v, 0.25, axis=axis)
    iqm_ci = st.bootstrap((x,), iqm, n_resamples=REPS, method="percentile", random_state=np.random.default_rng(2),
                          vectorized=True, batch=5000).confidence_interval
    # Paired samples x and 0: swapping the members of a pair flips the sign of the difference. Exact up to 2^12.
    flip = st.permutation_test((x, np.zeros_like(x)), lambda a, b, axis=-1: np.mean(a - b, axis=axis), permutation_type="samples",
                               n_resamples=np.inf if len(x) <= 12 else REPS, vectorized=True, batch=4096,
                               random_state=np.random.default_rng(3))
    t = st.t.interval(0.95, len(x) - 1, loc=np.mean(x), scale=st.sem(x))
    return {"name": name, "x": x.tolist(), "mean": float(np.mean(x)), "sd": float(np.std(x, ddof=1)), "iqm": float(iqm(x)),
            "bootstrap_mean": [mean_ci.low, mean_ci.high], "bootstrap_iqm": [iqm_ci.low, iqm_ci.high],
            "flip_p": float(flip.pvalue), "flip_exact": len(x) <= 12, "t": list(t)}


def stratified():
    """rliable: runs are resampled within every task, the aggregate is over runs x tasks."""
    rng = np.random.default_rng(77)
    x = rng.normal([[0.3, 0.7, 0.5]], 0.1, (8, 3))  # [runs, tasks], as rliable has it
    y = rng.normal([[0.35, 0.6, 0.4]], 0.1, (8, 3))
    np.random.seed(5)  # rliable draws from the global generator whatever random_state it is given
    both = lambda z: np.array([metrics.aggregate_mean(z), metrics.aggregate_iqm(z)])
    points, limits = library.get_interval_estimates({"x": x}, both, reps=50000)
    var = x.var(axis=0, ddof=1) / 8
    degrees = var.sum() ** 2 / (var**2 / 7).sum()
    half = st.t.ppf(0.975, degrees) * np.sqrt(var.sum()) / 3
    d = (x - y)[:4]  # 4 seeds x 3 tasks = 12 signs, exact
    means_all = [abs((np.array([1 if k >> i & 1 else -1 for i in range(12)]).reshape(4, 3) * d).mean()) for k in range(4096)]
    return {"x": x.T.tolist(), "y": y.T.tolist(), "mean": float(points["x"][0]), "iqm": float(points["x"][1]), "reps": 50000,
            "bootstrap_mean": limits["x"][:, 0].tolist(), "bootstrap_iqm": limits["x"][:, 1].tolist(),
            "p_improvement": float(metrics.probability_of_improvement(x, y)), "t": [x.mean() - half, x.mean() + half],
            "difference": d.T.tolist(), "flip_p": float(np.mean(np.array(means_all) >= abs(d.mean()) * (1 - 1e-12)))}


def pairs():
    rng = np.random.default_rng(9)
    for n, m in ((5, 5), (10, 7), (6, 6)):
        x, y = np.round(rng.normal(0.1, 1, n), 1), np.round(rng.normal(0, 1, m), 1)
        yield {"x": x.tolist(), "y": y.tolist(), "p_improvement": float(st.mannwhitneyu(x, y).statistic / (n * m))}


def main():
    families = [[0.01, 0.04, 0.03, 0.005], [0.5, 0.6, 0.02], [0.04], [0.2, 0.01, 0.01, 0.01, 0.9]]
    out = {
        "versions": {"python": sys.version.split()[0], "numpy": np.__version__, "scipy": scipy.__version__, "statsmodels": statsmodels.__version__,
                     "rliable": importlib.metadata.version("rliable")},
        "reps": REPS,
        "samples": [one(name, np.asarray(x)) for name, x in samples()],
        "stratified": stratified(),
        "pairs": list(pairs()),
        "holm": [{"p": p, "adjusted": multipletests(p, method="holm")[1].tolist()} for p in families],
        "t_quantile": [{"q": q, "degrees": v, "value": float(st.t.ppf(q, v))} for q in (0.6, 0.9, 0.975, 0.9995, 0.025) for v in (1, 2, 3.7, 9, 29, 250)],
        # Exact power of the paired t-test, which the normal formula approaches for small effects.
        "power": [{"sd": 1.0, "delta": d, "n": float(tt_solve_power(effect_size=d, alpha=0.05, power=0.8))} for d in (0.1, 0.2, 0.5)],
    }
    json.dump(out, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
